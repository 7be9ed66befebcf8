// Rotation in two deploys: first everybody learns the new key, then it signs; in between each verifies what any other signs.

import { MillraceError } from '../errors.ts'
import { deriveKey, hex } from './bytes.ts'
import { generateKeyring, type Keyring, type SigningKey } from './keyring.ts'

/**
 * The keyring of the first deploy: a new random key at the end, which verifies and does not sign yet. Roles and functions may
 * take it in any order, since all of them still sign with a key that all of them have.
 *
 * @throws {MillraceError} `invalid_keyring` when the key id is malformed, or is there already
 */
export function addKey({ keys }: Keyring, kid: string): Keyring {
  if (keys.some(key => key.kid === kid)) throw refused(`the keyring has a key ${kid} already`, 'Pass another key id.')
  return { keys: [...keys, ...generateKeyring(kid).keys] }
}

/**
 * The keyring of the second deploy, once everybody has that of the first: the newest key signs, the one that signed before
 * still verifies what it began, and older ones are gone, unless `keep` says otherwise: what is stored encrypted needs its key.
 *
 * @throws {MillraceError} `invalid_keyring` when there is no newer key
 */
export function activateKey(
  { keys }: Keyring,
  { keep = false }: { readonly keep?: boolean | undefined } = {},
): Keyring {
  const [signing] = keys
  const newest = keys.at(-1) as SigningKey
  if (newest === signing) throw refused('it has one key, which signs already', 'Add one first: millrace keys rotate')
  if (isOlder(newest.kid, signing.kid)) {
    throw refused(
      `${newest.kid} is older than ${signing.kid}, which signs already`,
      'Add one first: millrace keys rotate',
    )
  }
  return { keys: [newest, ...(keep ? keys.slice(0, -1) : [signing])] }
}

/** A key id that no key of the ring has: the date as `k20260131`, with a letter for further ones of the day. */
export function freshKid(keys: readonly SigningKey[], today: Date): string {
  const base = `k${today.toISOString().slice(0, 10).replaceAll('-', '')}`
  const taken = new Set(keys.map(({ kid }) => kid))
  const ids = [base, ...Array.from('bcdefghijklmnopqrstuvwxyz', letter => `${base}${letter}`)]
  const free = ids.find(id => !taken.has(id))
  if (free === undefined) throw refused('it has 26 keys of today', 'Pass a key id.')
  return free
}

/** Only ids that were made from dates tell which of two is older. */
const isOlder = (kid: string, than: string): boolean => DATED.test(kid) && DATED.test(than) && kid < than
const DATED = /^k\d{8}[b-z]?$/

/** Tells keys apart in lists and logs: 8 hex digits from which nothing about the secret follows. */
export const fingerprint = ({ secret }: SigningKey): string =>
  hex(deriveKey(secret, 'millrace v1 key fingerprint')).slice(0, 8)

const refused = (what: string, hint: string): MillraceError =>
  new MillraceError('invalid_keyring', `Cannot rotate: ${what}`, { hint })
