// Keyrings: several named secrets of which the first signs and all verify, so that rotation is two deploys.

import { MillraceError } from '../errors.ts'
import { deriveKey, hex, type Mac, macUnder, unhex32 } from './bytes.ts'

export interface SigningKey {
  readonly kid: string
  /** 32 bytes. */
  readonly secret: Uint8Array
}

/** At least one key. The first signs, all verify. */
export interface Keyring {
  readonly keys: readonly [SigningKey, ...SigningKey[]]
}

/** The fixed context strings under which keys for different uses come from one root secret. */
const KEY_CONTEXT = {
  /** Dispatch signatures: the only keys a function is given. */
  dispatch: 'millrace v1 dispatch signing',
  /** The key from which every attempt's own key comes. */
  attempt: 'millrace v1 attempt keys',
  /** The key from which every job's event key comes. */
  event: 'millrace v1 event tokens',
} as const

/** The name of a key that was given as bare hex, as Awa's secret is. */
const BARE_KID = 'k0'
const KID = /^[A-Za-z0-9_-]{1,32}$/

/**
 * Reads `kid:hex64[,kid:hex64…]`; a key id is 1 to 32 of `A-Z a-z 0-9 _ -`, a secret is 64 hex digits. 64 hex digits
 * alone are a keyring of one key, `k0`.
 *
 * @throws {MillraceError} `invalid_keyring`; the message names positions, never any part of the text
 */
export function parseKeyring(text: string): Keyring {
  const bare = unhex32(text.trim())
  if (bare !== undefined) return { keys: [{ kid: BARE_KID, secret: bare }] }
  const keys = text.split(',').map(parseKey)
  const seen = new Set(keys.map(key => key.kid))
  if (seen.size < keys.length) throw invalid('two keys have the same id')
  return { keys: keys as [SigningKey, ...SigningKey[]] }
}

function parseKey(entry: string, index: number): SigningKey {
  const [kid = '', digits, ...rest] = entry.trim().split(':')
  if (digits === undefined || rest.length > 0) throw invalid(`key ${index + 1} is not of the form kid:hex`)
  if (!KID.test(kid)) throw invalid(`the id of key ${index + 1} is not 1 to 32 of A-Z a-z 0-9 _ -`)
  const secret = unhex32(digits)
  if (secret === undefined) throw invalid(`the secret of key ${index + 1} is not 64 hex digits`)
  return { kid, secret }
}

const invalid = (what: string): MillraceError =>
  new MillraceError('invalid_keyring', `Not a keyring: ${what}`, {
    hint: 'Make one with "millrace keys generate"; the form is kid:hex64[,kid:hex64...]',
  })

/** The text form, as {@link parseKeyring} reads it. */
export const formatKeyring = (keyring: Keyring): string =>
  keyring.keys.map(key => `${key.kid}:${hex(key.secret)}`).join(',')

/**
 * A keyring of one new random key.
 *
 * @throws {MillraceError} `invalid_keyring` when the key id is malformed
 */
export function generateKeyring(kid: string = BARE_KID): Keyring {
  if (!KID.test(kid)) throw invalid('a key id is 1 to 32 of A-Z a-z 0-9 _ -')
  return { keys: [{ kid, secret: crypto.getRandomValues(new Uint8Array(32)) }] }
}

export const findKey = (keyring: Keyring, kid: string): SigningKey | undefined =>
  keyring.keys.find(key => key.kid === kid)

/** The keyring that functions get: it verifies dispatches, and the root secrets cannot be computed from it. */
export const deriveDispatchKeyring = (root: Keyring): Keyring => ({
  keys: root.keys.map(dispatchKey) as [SigningKey, ...SigningKey[]],
})

/** One root key's dispatch key, computed once per key. */
export const dispatchKey = remembered(
  (root: SigningKey): SigningKey => ({ kid: root.kid, secret: deriveKey(root.secret, KEY_CONTEXT.dispatch) }),
)

/** The MAC that makes attempt keys from callback ids, prepared once per root key. */
export const attemptKeyMac = remembered(
  (root: SigningKey): Mac => macUnder(deriveKey(root.secret, KEY_CONTEXT.attempt)),
)

/** The MAC that makes event keys from job ids, prepared once per root key. */
export const eventKeyMac = remembered((root: SigningKey): Mac => macUnder(deriveKey(root.secret, KEY_CONTEXT.event)))

/** The MAC under a key's own secret, prepared once per key. */
export const keyMac = remembered((key: SigningKey): Mac => macUnder(key.secret))

function remembered<Key extends object, Value>(compute: (key: Key) => Value): (key: Key) => Value {
  const known = new WeakMap<Key, Value>()
  return key => {
    let value = known.get(key)
    if (value === undefined) {
      value = compute(key)
      known.set(key, value)
    }
    return value
  }
}
