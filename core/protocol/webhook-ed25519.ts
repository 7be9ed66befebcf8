// Standard Webhooks' v1a: deliveries signed with an Ed25519 key, which receivers verify without holding a secret.

import { MillraceError } from '../errors.ts'
import { base64, unbase64, unbase64url } from './base64.ts'
import { utf8 } from './bytes.ts'
import { isFresh, type Verdict } from './signature-header.ts'
import { isMessageId, type WebhookHeaders, type WebhookMessage } from './webhook.ts'

const PRIVATE_PREFIX = 'whsk_'
const PUBLIC_PREFIX = 'whpk_'
const KEY_BYTES = 32
/** What stands before the 32 bytes of a private key in its PKCS #8 form (RFC 8410). */
const PKCS8 = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20]

export interface WebhookKeyPair {
  /** `whsk_` and the base64 of the private key followed by the public one: what signs. */
  readonly privateKey: string
  /** `whpk_` and the base64 of the public key: what receivers get. */
  readonly publicKey: string
}

export const isAsymmetric = (secret: string): boolean => secret.startsWith(PRIVATE_PREFIX)

/** A new random key pair. */
export async function generateWebhookKeyPair(): Promise<WebhookKeyPair> {
  const { privateKey, publicKey } = (await crypto.subtle.generateKey('Ed25519', true, [
    'sign',
    'verify',
  ])) as CryptoKeyPair
  const seed = new Uint8Array(await crypto.subtle.exportKey('pkcs8', privateKey)).slice(-KEY_BYTES)
  const point = new Uint8Array(await crypto.subtle.exportKey('raw', publicKey))
  return {
    privateKey: PRIVATE_PREFIX + base64(new Uint8Array([...seed, ...point])),
    publicKey: PUBLIC_PREFIX + base64(point),
  }
}

/**
 * The `whpk_…` that belongs to a `whsk_…`.
 *
 * @throws {MillraceError} `invalid_configuration` for a malformed key
 */
export async function webhookPublicKey(privateKey: string): Promise<string> {
  const { x = '' } = await crypto.subtle.exportKey('jwk', await signingKey(privateKey, true))
  return PUBLIC_PREFIX + base64(unbase64url(x) ?? new Uint8Array())
}

/**
 * `v1a,<base64>`: the Ed25519 signature of `<id>.<timestamp>.<body>`. `timestamp` in unix seconds.
 *
 * @throws {MillraceError} `invalid_configuration` for a malformed key
 */
export async function signWebhookAsymmetric(
  privateKey: string,
  message: WebhookMessage,
  timestamp: number,
): Promise<string> {
  const signature = await crypto.subtle.sign('Ed25519', await signingKey(privateKey), signedBytes(message, timestamp))
  return `v1a,${base64(new Uint8Array(signature))}`
}

/**
 * Checks a delivery by its `v1a` signatures. `now` in milliseconds.
 *
 * @throws {MillraceError} `invalid_configuration` for a malformed public key
 */
export async function verifyWebhookAsymmetric(
  publicKey: string,
  headers: Partial<WebhookHeaders>,
  body: Uint8Array,
  now: number,
  toleranceSeconds?: number,
): Promise<Verdict> {
  const { 'webhook-id': id = '', 'webhook-timestamp': t = '', 'webhook-signature': signatures = '' } = headers
  const key = await crypto.subtle.importKey('raw', publicBytes(publicKey), 'Ed25519', false, ['verify'])
  if (!/^[1-9][0-9]{0,11}$/.test(t) || !isMessageId(id)) return 'invalid_signature'
  const signed = signedBytes({ id, body }, Number(t))
  for (const one of signatures.split(' ').slice(0, MOST_SIGNATURES)) {
    const signature = one.startsWith('v1a,') ? unbase64(one.slice('v1a,'.length)) : undefined
    if (signature === undefined || !(await crypto.subtle.verify('Ed25519', key, signature, signed))) continue
    return isFresh(Number(t), now, toleranceSeconds) ? 'valid' : 'stale_timestamp'
  }
  return 'invalid_signature'
}

/** A header with more is no rotation, but somebody who wants us to compute. */
const MOST_SIGNATURES = 16

function signedBytes({ id, body }: WebhookMessage, timestamp: number): Uint8Array<ArrayBuffer> {
  const head = utf8(`${id}.${timestamp}.`)
  const bytes = new Uint8Array(head.length + body.length)
  bytes.set(head)
  bytes.set(body, head.length)
  return bytes
}

/** 64 bytes, of which the second half is the public key, or the 32 of the private key alone. */
async function signingKey(privateKey: string, extractable = false): Promise<CryptoKey> {
  const bytes = bytesAfter(PRIVATE_PREFIX, privateKey)
  if (bytes?.length !== KEY_BYTES && bytes?.length !== 2 * KEY_BYTES)
    throw malformed('private key is whsk_ followed by 32 or 64')
  const pkcs8 = new Uint8Array([...PKCS8, ...bytes.slice(0, KEY_BYTES)])
  return crypto.subtle.importKey('pkcs8', pkcs8, 'Ed25519', extractable, ['sign'])
}

function publicBytes(publicKey: string): Uint8Array<ArrayBuffer> {
  const bytes = bytesAfter(PUBLIC_PREFIX, publicKey)
  if (bytes?.length !== KEY_BYTES) throw malformed('public key is whpk_ followed by 32')
  return bytes
}

const bytesAfter = (prefix: string, text: string): Uint8Array<ArrayBuffer> | undefined =>
  text.startsWith(prefix) ? unbase64(text.slice(prefix.length)) : undefined

const malformed = (what: string): MillraceError =>
  new MillraceError('invalid_configuration', `A webhook's ${what} bytes in base64`)
