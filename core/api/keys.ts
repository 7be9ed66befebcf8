// API keys as configuration has them, found again by their hash in constant time.

import { apiKeyHash, SCOPES, type Scope } from '../api-key.ts'
import { MillraceError } from '../errors.ts'
import { equalBytes } from '../protocol/bytes.ts'

/** Who asks, and what for. */
export interface ApiKey {
  /** As the audit log says it. */
  readonly actor: string
  readonly scopes: ReadonlySet<Scope>
  /** Undefined: of every tenant. */
  readonly tenant: string | undefined
}

export interface ConfiguredKey extends ApiKey {
  readonly hash: Uint8Array
}

/** Instead of keys: there are none but the database's. */
const DATABASE_ONLY = 'database'

/**
 * Keys as configuration has them: `mk_…` or `mk_…:scope,scope`, any number of them, between commas, semicolons or white
 * space. A key without scopes may do everything. `database`: none.
 *
 * @throws {MillraceError} `invalid_configuration` when there is none, or one that is none
 */
export function parseApiKeys(text: string | readonly string[]): readonly ConfiguredKey[] {
  const entries = [text]
    .flat()
    .flatMap(part => part.split(/[\s;]+|,(?=\s*mk_)/))
    .filter(entry => entry !== '')
  if (entries.length === 1 && entries[0] === DATABASE_ONLY) return []
  if (entries.length === 0) throw invalid('there is none')
  const keys = entries.map(parseKey)
  if (keys.some(({ hash }, n) => configuredKey(keys.slice(0, n), hash))) throw invalid('a key is there twice')
  return keys
}

/** Says which one is meant by its number: a key belongs into no log. */
function parseKey(entry: string, n: number): ConfiguredKey {
  const [, key, scopes] = /^(mk_[A-Za-z0-9_-]{32,200})(?::(.*))?$/.exec(entry) ?? []
  if (key === undefined) throw invalid(`number ${n + 1} is not mk_ and at least 32 of A-Z a-z 0-9 _ -`)
  const named = scopes?.split(',') ?? SCOPES
  if (!named.every((name): name is Scope => (SCOPES as readonly string[]).includes(name))) {
    throw invalid(`number ${n + 1} has a scope that is none of ${SCOPES.join(', ')}`)
  }
  return { hash: apiKeyHash(key), actor: `configured-key:${n + 1}`, scopes: new Set(named), tenant: undefined }
}

/** What an `Authorization` header brings. */
export const presentedToken = (header: string | undefined): string | undefined =>
  /^Bearer +([!-~]{1,512})$/i.exec(header ?? '')?.[1]

/** Looks at all of them, so that the time says nothing. */
export function configuredKey(keys: readonly ConfiguredKey[], hash: Uint8Array): ConfiguredKey | undefined {
  let found: ConfiguredKey | undefined
  for (const key of keys) if (equalBytes(key.hash, hash)) found = key
  return found
}

const invalid = (what: string): MillraceError =>
  new MillraceError('invalid_configuration', `API keys: ${what}`, {
    hint: 'Pass what `millrace keys api` prints, with scopes or without: mk_…:enqueue,read; or "database", for none but its own',
  })
