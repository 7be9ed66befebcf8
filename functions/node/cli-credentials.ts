// What `millrace maintain` and `millrace tick` have for targets that ask who dispatches: from the environment and a key file.

import { readFile } from 'node:fs/promises'
import type { Credentials, IdentityTokens } from '../../core/dispatch/authorize.ts'
import { MillraceError } from '../../core/errors.ts'
import type { SendingOptions } from '../../core/maintenance/options.ts'
import { awsSigner } from '../identity/aws-signer.ts'
import { metadataTokens } from '../identity/metadata.ts'
import { serviceAccountTokens } from '../identity/service-account.ts'
import { type Options, UsageError, type ValuesOf } from './cli-command.ts'
import { lambdaInvokerOf, lambdaOption } from './cli-lambda.ts'

export const credentialsOptions = {
  identity: {
    type: 'string',
    value: 'WHOSE',
    help: 'for targets with oidc: service-account:FILE (a key), or metadata (on Google Cloud) (default: $MILLRACE_IDENTITY)',
  },
  ...lambdaOption,
} as const satisfies Options

/**
 * @throws {UsageError} for an identity that is none
 * @throws {MillraceError} `missing_dependency`
 */
export async function credentialsOf(
  values: ValuesOf<typeof credentialsOptions>,
): Promise<Credentials & Pick<SendingOptions, 'lambdaInvoker'>> {
  return {
    // With a name of its own for each, so that a declaration cannot ask for whatever the environment holds.
    secrets: name => process.env[`MILLRACE_SECRET_${name}`],
    identityTokens: await identityOf(values.identity ?? process.env.MILLRACE_IDENTITY ?? ''),
    lambdaInvoker: await lambdaInvokerOf(values.lambda),
    awsSigner: process.env.AWS_ACCESS_KEY_ID ? awsSigner({ credentials: awsCredentials }) : undefined,
  }
}

async function identityOf(whose: string): Promise<IdentityTokens | undefined> {
  if (whose === '') return undefined
  const { GCE_METADATA_HOST: host } = process.env
  if (whose === 'metadata') return metadataTokens(host ? { baseUrl: `http://${host}` } : {})
  const [kind, ...path] = whose.split(':')
  if (kind !== 'service-account') throw new UsageError('--identity is service-account:FILE or metadata')
  try {
    return serviceAccountTokens({ key: await readFile(path.join(':'), 'utf8') })
  } catch (error) {
    if (!(error instanceof MillraceError) && !(error as NodeJS.ErrnoException).code) throw error
    throw new UsageError(`--identity: ${(error as Error).message}`)
  }
}

const awsCredentials = () => ({
  accessKeyId: process.env.AWS_ACCESS_KEY_ID ?? '',
  secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY ?? '',
  sessionToken: process.env.AWS_SESSION_TOKEN,
})
