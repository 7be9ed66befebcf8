// Signature Version 4 for functions behind IAM: Lambda function URLs and API Gateway.

import { AwsV4Signer } from 'aws4fetch'
import type { AwsSigner } from '../../core/dispatch/authorize.ts'

export interface AwsCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Of temporary credentials. */
  readonly sessionToken?: string | undefined
}

export interface AwsSignerOptions {
  /** Asked for with every dispatch, as temporary ones change: keep what you have. */
  readonly credentials: () => AwsCredentials | Promise<AwsCredentials>
}

/**
 * Signs what is sent as it is sent, Millrace's own headers and signature included.
 *
 * @example
 * new Maintenance({ awsSigner: awsSigner({ credentials: fromNodeProviderChain() }), … })
 */
export function awsSigner({ credentials }: AwsSignerOptions): AwsSigner {
  return {
    async sign({ origin, path, headers, body }, scope) {
      const signer = new AwsV4Signer({
        method: 'POST',
        url: origin + path,
        headers: { ...headers },
        body: body as BodyInit,
        ...(await credentials()),
        ...scope,
      } as ConstructorParameters<typeof AwsV4Signer>[0])
      const signed = await signer.sign()
      return Object.fromEntries([...signed.headers].filter(([name]) => !(name in headers)))
    },
  }
}
