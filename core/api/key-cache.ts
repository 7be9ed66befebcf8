// What is known of the database's API keys: looked up at most every ten seconds, and never often for those who guess.

import { API_KEY_FORM, type Scope, storedApiKey } from '../api-key.ts'
import type { ApiKey } from './keys.ts'
import { Problem } from './problem.ts'

/** For so long a key that was revoked may still be taken. */
const KNOWN_MS = 10_000
/** For so long one that was just made may not be taken, if somebody tried it before. */
const UNKNOWN_MS = 5_000
const MOST = 1_000
/** Look-ups that find nothing: so many at once, and then so many a second. */
const GUESSES = 100
const GUESSES_PER_SECOND = 20

/** What the database says of a key. */
export interface FoundKey {
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly tenant: string | null
  /** Until it expires; null: never. */
  readonly expires_ms: number | null
}

/** One for a process; on Workers, where an app is for one request, one beside the apps. */
export interface ApiKeyCache {
  /** @throws {Problem} `too_many_requests`, when there are too many guesses */
  find(token: string, lookUp: (hash: string) => Promise<FoundKey | undefined>): Promise<ApiKey | undefined>
}

/** Keys by their hash. Nothing is shared between look-ups under way: on Workers none may wait for another request's. */
export function apiKeyCache({ now = () => performance.now() }: { readonly now?: () => number } = {}): ApiKeyCache {
  const known = new Map<string, { readonly key: ApiKey; readonly until: number }>()
  const unknown = new Map<string, number>()
  const guesses = guessing(now)
  return {
    async find(token, lookUp) {
      if (!API_KEY_FORM.test(token)) return undefined
      const { hash } = storedApiKey(token)
      const kept = known.get(hash)
      if (kept !== undefined && now() < kept.until) return kept.key
      if (now() < (unknown.get(hash) ?? 0)) return undefined
      if (kept === undefined && !guesses.take()) throw tooManyGuesses()
      const asked = now()
      const found = await lookUp(hash)
      known.delete(hash)
      if (found === undefined) {
        remember(unknown, hash, now() + UNKNOWN_MS)
        return undefined
      }
      if (kept === undefined) guesses.giveBack()
      unknown.delete(hash)
      const until = asked + Math.min(KNOWN_MS, found.expires_ms ?? KNOWN_MS)
      remember(known, hash, { key: keyOf(found), until })
      return keyOf(found)
    },
  }
}

/** Taken before it is known whether it is one, or many at once would all pass. */
function guessing(now: () => number) {
  let left = GUESSES
  let at = now()
  return {
    take(): boolean {
      left = Math.min(GUESSES, left + ((now() - at) / 1_000) * GUESSES_PER_SECOND)
      at = now()
      if (left < 1) return false
      left -= 1
      return true
    },
    giveBack(): void {
      left += 1
    },
  }
}

const keyOf = ({ name, scopes, tenant }: FoundKey): ApiKey => ({
  actor: `key:${name}`,
  scopes: new Set(scopes),
  tenant: tenant ?? undefined,
})

function remember<T>(map: Map<string, T>, hash: string, value: T): void {
  map.delete(hash)
  map.set(hash, value)
  const [oldest] = map.keys()
  if (map.size > MOST) map.delete(oldest as string)
}

const tooManyGuesses = (): Problem =>
  new Problem('too_many_requests', 'Too many requests, try again later', { headers: { 'retry-after': '1' } })
