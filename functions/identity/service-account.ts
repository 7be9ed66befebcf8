// Identity tokens of a Google service account, by its key: a JWT of ours is exchanged for one that Google signed.

import { importPKCS8, SignJWT } from 'jose'
import type { IdentityTokens } from '../../core/dispatch/authorize.ts'
import { MillraceError } from '../../core/errors.ts'
import { isLoopbackHost } from '../../core/loopback.ts'
import { answerFrom, cachedTokens } from './token-cache.ts'

export interface ServiceAccountOptions {
  /** The text of the key file (JSON). */
  readonly key: string
  readonly fetch?: typeof fetch | undefined
}

interface ServiceAccountKey {
  readonly client_email: string
  readonly private_key: string
  readonly private_key_id?: string
  readonly token_uri: string
}

const GRANT_TYPE = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

/**
 * Tokens as `target.auth` of type `oidc` asks for them (https://developers.google.com/identity/protocols/oauth2/service-account).
 *
 * @throws {MillraceError} `invalid_configuration` when the key is none
 */
export function serviceAccountTokens({ key: text, fetch: fetchIt = fetch }: ServiceAccountOptions): IdentityTokens {
  const key = parseKey(text)
  return cachedTokens(async audience => {
    const assertion = await assertionOf(key, audience)
    const body = new URLSearchParams({ grant_type: GRANT_TYPE, assertion })
    const answer = await answerFrom(key.token_uri, { method: 'POST', body }, fetchIt)
    // An error of the parser would quote what is there.
    const { id_token } = ((await answer.json().catch(() => null)) ?? {}) as { id_token?: unknown }
    if (typeof id_token !== 'string') throw new Error(`${new URL(key.token_uri).host} answered without a token`)
    return id_token
  })
}

async function assertionOf(key: ServiceAccountKey, audience: string): Promise<string> {
  const kid = key.private_key_id
  return new SignJWT({ target_audience: audience })
    .setProtectedHeader({ alg: 'RS256', typ: 'JWT', ...(kid !== undefined && { kid }) })
    .setIssuer(key.client_email)
    .setSubject(key.client_email)
    .setAudience(key.token_uri)
    .setIssuedAt()
    .setExpirationTime('10m')
    .sign(await importPKCS8(key.private_key, 'RS256'))
}

/** Messages quote nothing of it. */
function parseKey(text: string): ServiceAccountKey {
  const key = parsed(text)
  const { client_email, private_key, token_uri } = key
  if ([client_email, private_key, token_uri].some(value => typeof value !== 'string'))
    throw invalid('has client_email, private_key and token_uri')
  const { protocol, hostname } = URL.parse(token_uri) ?? {}
  if (protocol !== 'https:' && !(protocol === 'http:' && isLoopbackHost(hostname ?? '')))
    throw invalid('has a token_uri with https')
  return key
}

function parsed(text: string): ServiceAccountKey {
  try {
    return { ...(JSON.parse(text) as ServiceAccountKey) }
  } catch {
    throw invalid('is JSON')
  }
}

const invalid = (problem: string) =>
  new MillraceError('invalid_configuration', `The key of a Google service account ${problem}`)
