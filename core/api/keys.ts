// API keys: made, read from configuration, and found again by their hash in constant time.

import { blake3 } from '@noble/hashes/blake3.js'
import { MillraceError } from '../errors.ts'
import { equalBytes, utf8 } from '../protocol/bytes.ts'

/** `enqueue`: jobs in; `read`: look at everything; `operate`: retry, cancel, pause and the like. */
export type Scope = 'enqueue' | 'read' | 'operate'

const SCOPES: readonly Scope[] = ['enqueue', 'read', 'operate']

/** A key's hash, and what the key may do. */
export interface ApiKey {
  readonly hash: Uint8Array
  readonly scopes: ReadonlySet<Scope>
}

/** A new key, to be shown once: `mk_` and 32 random bytes. */
export function generateApiKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(32))
  const text = btoa(String.fromCharCode(...bytes))
  return `mk_${text.replaceAll('+', '-').replaceAll('/', '_').replace('=', '')}`
}

/**
 * Keys as configuration has them: `mk_…` or `mk_…:scope,scope`, any number of them, between commas, semicolons or white
 * space. A key without scopes may do everything.
 *
 * @throws {MillraceError} `invalid_configuration` when there is none, or one that is none
 */
export function parseApiKeys(text: string | readonly string[]): readonly ApiKey[] {
  const entries = [text]
    .flat()
    .flatMap(part => part.split(/[\s;]+|,(?=\s*mk_)/))
    .filter(entry => entry !== '')
  if (entries.length === 0) throw invalid('there is none')
  const keys = entries.map(parseKey)
  if (keys.some(({ hash }, n) => findApiKey(keys.slice(0, n), hash))) throw invalid('a key is there twice')
  return keys
}

/** Says which one is meant by its number: a key belongs into no log. */
function parseKey(entry: string, n: number): ApiKey {
  const [, key, scopes] = /^(mk_[A-Za-z0-9_-]{32,200})(?::(.*))?$/.exec(entry) ?? []
  if (key === undefined) throw invalid(`number ${n + 1} is not mk_ and at least 32 of A-Z a-z 0-9 _ -`)
  const named = scopes?.split(',') ?? SCOPES
  if (!named.every((name): name is Scope => (SCOPES as readonly string[]).includes(name))) {
    throw invalid(`number ${n + 1} has a scope that is none of ${SCOPES.join(', ')}`)
  }
  return { hash: hashOf(key), scopes: new Set(named) }
}

/** The key that an `Authorization` header brings; undefined: none that there is. */
export function presentedKey(keys: readonly ApiKey[], header: string | undefined): ApiKey | undefined {
  const [, token] = /^Bearer +([!-~]{1,512})$/i.exec(header ?? '') ?? []
  return token === undefined ? undefined : findApiKey(keys, hashOf(token))
}

/** Looks at all of them, so that the time says nothing. */
function findApiKey(keys: readonly ApiKey[], hash: Uint8Array): ApiKey | undefined {
  let found: ApiKey | undefined
  for (const key of keys) if (equalBytes(key.hash, hash)) found = key
  return found
}

const hashOf = (key: string): Uint8Array => blake3(utf8(key))

const invalid = (what: string): MillraceError =>
  new MillraceError('invalid_configuration', `API keys: ${what}`, {
    hint: 'Pass what `millrace keys api` prints, with scopes or without: mk_…:enqueue,read',
  })
