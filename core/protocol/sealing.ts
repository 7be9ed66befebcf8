// Secrets at rest: sealed with AES-256-GCM under keys that come from the root secret, so that the database alone gives none
// of them away. Text: `sealed:<kid>:<base64url of nonce, ciphertext and tag>`.

import { MillraceError } from '../errors.ts'
import { base64url, unbase64url } from './base64.ts'
import { deriveKey, macOnce, utf8 } from './bytes.ts'
import { findKey, type Keyring, type SigningKey } from './keyring.ts'

const SEALING_CONTEXT = 'millrace v1 sealed secrets'
const NONCE_CONTEXT = 'millrace v1 sealing nonces'
const PREFIX = 'sealed:'
const NONCE_BYTES = 12

/**
 * The keyring for those who put secrets into the database: a deploy that syncs a manifest, the admin API. The dispatcher
 * derives it from the root; nothing else can be computed from it.
 */
export const deriveSealingKeyring = (root: Keyring): Keyring => ({
  keys: root.keys.map(({ kid, secret }) => ({ kid, secret: deriveKey(secret, SEALING_CONTEXT) })) as [
    SigningKey,
    ...SigningKey[],
  ],
})

const isSealed = (text: string): boolean => text.startsWith(PREFIX)

/**
 * Seals a secret for `name`, under which alone it opens again, with the first key. The same secret of the same name gives
 * the same text: whoever declares it anew changes nothing. So the nonce is a keyed hash of both, under a key of its own.
 */
export async function seal(keys: Keyring, name: string, secret: string): Promise<string> {
  const [key] = keys.keys
  const nonce = macOnce(deriveKey(key.secret, NONCE_CONTEXT), `${name}\0${secret}`).slice(0, NONCE_BYTES)
  const sealed = await crypto.subtle.encrypt(
    { name: 'AES-GCM', iv: nonce as BufferSource, additionalData: utf8(name) as BufferSource },
    await aesKey(key, 'encrypt'),
    utf8(secret) as BufferSource,
  )
  return `${PREFIX}${key.kid}:${base64url(new Uint8Array([...nonce, ...new Uint8Array(sealed)]))}`
}

/**
 * What was sealed for `name`. A text that is not sealed is the secret itself.
 *
 * @throws {MillraceError} `invalid_configuration`: sealed with a key that is not in the keyring, or for another name
 */
export async function unseal(keys: Keyring, name: string, text: string): Promise<string> {
  if (!isSealed(text)) return text
  const [, kid = '', encoded = ''] = text.split(':')
  const key = findKey(keys, kid)
  const bytes = unbase64url(encoded)
  if (key === undefined || bytes === undefined) throw unreadable(kid)
  try {
    const opened = await crypto.subtle.decrypt(
      { name: 'AES-GCM', iv: bytes.slice(0, NONCE_BYTES), additionalData: utf8(name) as BufferSource },
      await aesKey(key, 'decrypt'),
      bytes.slice(NONCE_BYTES),
    )
    return new TextDecoder().decode(opened)
  } catch {
    throw unreadable(kid)
  }
}

const aesKey = ({ secret }: SigningKey, use: 'encrypt' | 'decrypt'): Promise<CryptoKey> =>
  crypto.subtle.importKey('raw', secret as BufferSource, 'AES-GCM', false, [use])

const unreadable = (kid: string): MillraceError =>
  new MillraceError(
    'invalid_configuration',
    `A secret that was sealed with the key "${kid.slice(0, 32)}" cannot be read`,
    {
      hint: 'Keep a root key in the keyring for as long as secrets are sealed with it, or set the secret anew.',
    },
  )
