// Keeps identity tokens until shortly before they expire, and has one fetch for all who ask meanwhile.

import { decodeJwt } from 'jose'
import type { IdentityTokens } from '../../core/dispatch/authorize.ts'

/** A request may be under way for so long with the token it was given. */
const MARGIN_MS = 60_000
/** Whom many jobs ask for the same that cannot be had, it is not asked again for each. */
const FAILURE_MS = 2_000

interface Kept {
  readonly token: Promise<string>
  until: number
}

/** `fetchToken` answers with a JWT; for one that has expired a target would refuse the job for good. `now` in milliseconds. */
export function cachedTokens(fetchToken: (audience: string) => Promise<string>, now = Date.now): IdentityTokens {
  const kept = new Map<string, Kept>()
  const live = (token: string): string => {
    const expiry = expiryOf(token)
    if (expiry > 0 && expiry <= now()) throw new Error('what was given out has expired')
    return token
  }
  return {
    token(audience) {
      const known = kept.get(audience)
      if (known && now() < known.until) return known.token
      const fresh: Kept = { token: fetchToken(audience).then(live), until: Number.POSITIVE_INFINITY }
      kept.set(audience, fresh)
      fresh.token.then(
        token => {
          fresh.until = expiryOf(token) - MARGIN_MS
        },
        () => {
          fresh.until = now() + FAILURE_MS
        },
      )
      return fresh.token
    },
  }
}

/** In milliseconds; 0 where it does not say. */
function expiryOf(token: string): number {
  try {
    return (decodeJwt(token).exp ?? 0) * 1_000
  } catch {
    return 0
  }
}

/** Whoever gives out tokens is asked for no longer than that. */
const FETCH_TIMEOUT_MS = 8_000

/** A 200, or an error. What else was said is not quoted: it may hold what was sent. */
export async function answerFrom(url: string, init: RequestInit, fetchIt: typeof fetch): Promise<Response> {
  const response = await fetchIt(url, { ...init, redirect: 'manual', signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) })
  if (response.status === 200) return response
  await response.body?.cancel()
  throw new Error(`${new URL(url).host} answered ${response.status}`)
}
