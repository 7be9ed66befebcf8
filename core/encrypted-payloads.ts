// Payloads encrypted at rest: AES-256-GCM under data keys that neither Postgres nor Millrace's roles hold.

import { codecFailed, envelopeIn, MARKS, type PayloadCodec } from './codec.ts'
import { base64, unbase64 } from './protocol/base64.ts'
import { deriveKey, utf8 } from './protocol/bytes.ts'
import { findKey, type Keyring, parseKeyring, type SigningKey } from './protocol/keyring.ts'

const MARK = MARKS.encrypted
const CONTEXT = 'millrace v1 payload encryption'
const NONCE_BYTES = 12

interface Envelope {
  readonly kid: unknown
  /** Base64 of nonce, ciphertext and tag. */
  readonly data: unknown
}

/**
 * Encrypts payloads with the first key of a keyring (`MILLRACE_DATA_KEYS`, made by `millrace keys generate`), and decrypts with
 * any of them. Each payload is bound to its job's kind. A key is good for 2³² payloads: rotate it before.
 *
 * @throws {MillraceError} `invalid_keyring`
 * @example
 * const codec = encryptedPayloads(process.env.MILLRACE_DATA_KEYS!)
 * const { enqueue } = createClient({ codec })
 */
export function encryptedPayloads(keys: Keyring | string): PayloadCodec {
  const keyring = typeof keys === 'string' ? parseKeyring(keys) : keys
  const known = new Map<string, Promise<CryptoKey>>()
  const aesKey = (key: SigningKey): Promise<CryptoKey> => {
    const imported = known.get(key.kid) ?? importKey(key)
    known.set(key.kid, imported)
    return imported
  }
  return {
    async encode(text, { kind }) {
      const [key] = keyring.keys
      const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES))
      const sealed = await crypto.subtle.encrypt(algorithm(iv, kind), await aesKey(key), utf8(text) as BufferSource)
      const data = new Uint8Array(NONCE_BYTES + sealed.byteLength)
      data.set(iv)
      data.set(new Uint8Array(sealed), NONCE_BYTES)
      return `{"${MARK}":"v1","kid":"${key.kid}","data":"${base64(data)}"}`
    },
    async decode(value, { kind }) {
      const envelope = envelopeIn<Envelope>(value, MARK)
      if (envelope === undefined) return value
      const key = findKey(keyring, String(envelope.kid))
      if (key === undefined) return unknownKey(envelope.kid)
      const data = unbase64(String(envelope.data)) ?? new Uint8Array()
      const [iv, sealed] = [data.subarray(0, NONCE_BYTES), data.subarray(NONCE_BYTES)]
      try {
        const opened = await crypto.subtle.decrypt(algorithm(iv, kind), await aesKey(key), sealed)
        return JSON.parse(new TextDecoder().decode(opened))
      } catch {
        return codecFailed(
          `A payload of "${kind}" does not decrypt: altered, of another kind, or under another key of that id`,
        )
      }
    },
  }
}

const algorithm = (iv: Uint8Array<ArrayBuffer>, kind: string): AesGcmParams => ({
  name: 'AES-GCM',
  iv,
  additionalData: utf8(kind) as BufferSource,
})

const importKey = ({ secret }: SigningKey): Promise<CryptoKey> =>
  crypto.subtle.importKey('raw', deriveKey(secret, CONTEXT) as BufferSource, 'AES-GCM', false, ['encrypt', 'decrypt'])

const unknownKey = (kid: unknown): never =>
  codecFailed(`A payload is encrypted with the key "${String(kid).slice(0, 32)}", which is not in the keyring`, {
    hint: 'Give all that decode the same data keyring, and keep old keys in it for as long as payloads are kept.',
  })
