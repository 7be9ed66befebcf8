// API keys: how one is made, and what of it is kept.

import { blake3 } from '@noble/hashes/blake3.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import { base64url } from './protocol/base64.ts'

/** `enqueue`: jobs in; `read`: look at everything; `operate`: retry, cancel, pause and the like. */
export type Scope = 'enqueue' | 'read' | 'operate'

export const SCOPES: readonly Scope[] = ['enqueue', 'read', 'operate']

/** How a key looks that {@link generateApiKey} has made. */
export const API_KEY_FORM = /^mk_[A-Za-z0-9_-]{43}$/

/** A new key, to be shown once: `mk_` and 32 random bytes. */
export const generateApiKey = (): string => `mk_${base64url(crypto.getRandomValues(new Uint8Array(32)))}`

/** BLAKE3. A key has 256 random bits, so that a slow hash would protect nothing. */
export const apiKeyHash = (key: string): Uint8Array => blake3(utf8ToBytes(key))

/** What stands in the database: the hash as hex, and by what people tell the key. */
export const storedApiKey = (key: string): { hash: string; hint: string } => ({
  hash: bytesToHex(apiKeyHash(key)),
  hint: key.slice(0, 7),
})
