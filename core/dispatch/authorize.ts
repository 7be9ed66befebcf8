// Puts into a request what its target asks for and only this deployment has: secrets, identity tokens, AWS signatures.

import type { TargetAuth } from '../target-auth.ts'
import { type DispatchRequest, TransportError } from './transport.ts'

/** Where dispatchers have it from. Jobs whose target asks for what is not there are put back. */
export interface Credentials {
  /** The value of a secret in a target's headers, asked for with every dispatch; undefined when there is none. */
  readonly secrets?: ((name: string) => string | undefined | Promise<string | undefined>) | undefined
  readonly identityTokens?: IdentityTokens | undefined
  readonly awsSigner?: AwsSigner | undefined
}

export interface IdentityTokens {
  /** Asked for with every dispatch, so that it should keep what it has until shortly before it expires. */
  token(audience: string): string | Promise<string>
}

export interface AwsSigner {
  /** The headers that are to be added to the request. */
  sign(request: DispatchRequest, scope: AwsScope): Promise<Readonly<Record<string, string>>>
}

export interface AwsScope {
  readonly region: string
  readonly service: string
}

/** What a route asks for. */
export interface Authorization {
  /** The names of secrets by header. */
  readonly secrets: Readonly<Record<string, string>>
  readonly auth?: TargetAuth | undefined
  /** Of the target. */
  readonly origin: string
}

/** Nothing is sent when it takes longer, or a port that hangs would hold its jobs for good. */
const LONGEST_MS = 10_000

/**
 * `build` is called once what is asked for is there, so that the request's own signature is fresh. Nothing that is in here
 * gets into a message.
 *
 * @throws {TransportError} `secret_missing`, `identity_unavailable`
 */
export async function authorized(
  build: () => DispatchRequest,
  { secrets, auth, origin }: Authorization,
  credentials: Credentials,
): Promise<DispatchRequest> {
  const names = Object.entries(secrets)
  const values = await Promise.all(names.map(([, name]) => secretOf(name, credentials)))
  const own = Object.fromEntries(names.map(([header], nth) => [header, values[nth] as string]))
  if (auth?.type === 'oidc') own.authorization = `Bearer ${await tokenFor(auth.audience ?? origin, credentials)}`
  const request = withHeaders(build(), own)
  if (auth === undefined || auth.type === 'oidc') return request
  if (auth.type !== 'aws_sigv4') throw unavailable(`this dispatcher knows no "${(auth as { type: string }).type}"`)
  return withHeaders(request, await signatureOn(request, auth, credentials))
}

/** Millrace's headers go before what is added, whatever name that has. */
const withHeaders = (request: DispatchRequest, added: Readonly<Record<string, string>>): DispatchRequest => ({
  ...request,
  headers: { ...added, ...request.headers },
})

/** What HTTP can carry; an error about anything else would quote it. */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]+$/

async function secretOf(name: string, { secrets }: Credentials): Promise<string> {
  const value = (await inTime(async () => await secrets?.(name)).catch(() => undefined))?.trim() ?? ''
  if (HEADER_VALUE.test(value)) return value
  const problem = value === '' ? 'is not known to this dispatcher' : 'cannot be the value of a header'
  throw new TransportError('secret_missing', `the secret ${name} ${problem}`, false)
}

async function tokenFor(audience: string, { identityTokens }: Credentials): Promise<string> {
  if (identityTokens === undefined) throw unavailable('this dispatcher was given no identity')
  const token = await inTime(async () => await identityTokens.token(audience)).catch(error => {
    throw unavailable(`no identity token for ${audience}: ${error?.message ?? error}`)
  })
  if (!HEADER_VALUE.test(token)) throw unavailable(`no identity token for ${audience}: it is none`)
  return token
}

async function signatureOn(
  request: DispatchRequest,
  { region, service = 'lambda' }: Extract<TargetAuth, { type: 'aws_sigv4' }>,
  { awsSigner }: Credentials,
): Promise<Readonly<Record<string, string>>> {
  if (awsSigner === undefined) throw unavailable('this dispatcher was given no AWS credentials')
  return inTime(() => awsSigner.sign(request, { region, service })).catch(error => {
    throw unavailable(`no AWS signature: ${error?.message ?? error}`)
  })
}

const unavailable = (message: string): TransportError => new TransportError('identity_unavailable', message, false)

async function inTime<T>(work: () => Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`it took longer than ${LONGEST_MS} ms`)), LONGEST_MS)
  try {
    return await Promise.race([work(), late.promise])
  } finally {
    clearTimeout(timer)
  }
}
