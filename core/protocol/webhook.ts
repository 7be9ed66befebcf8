// Completion webhooks: Standard Webhooks (https://www.standardwebhooks.com) with a BLAKE3 signature beside theirs.

import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { MillraceError } from '../errors.ts'
import { base64, unbase64 } from './base64.ts'
import { deriveKey, equalBytes, macOnce, utf8 } from './bytes.ts'
import { isFresh, type Verdict } from './signature-header.ts'

export interface WebhookMessage {
  /** The same for every try of one delivery: what the receiver deduplicates by. */
  readonly id: string
  /** The raw body. */
  readonly body: Uint8Array
}

/** `webhook-id`, `webhook-timestamp` (unix seconds) and `webhook-signature`. */
export type WebhookHeaders = Record<'webhook-id' | 'webhook-timestamp' | 'webhook-signature', string>

const PREFIX = 'whsec_'
const KEY_CONTEXT = 'millrace v1 webhook signing'

/** A dot would let two messages share their signed bytes. */
export const isMessageId = (id: string): boolean => /^[^\s.]+$/.test(id)

/** A new random secret of 32 bytes: `whsec_<base64>`. */
export const generateWebhookSecret = (): string => PREFIX + base64(crypto.getRandomValues(new Uint8Array(32)))

/**
 * The headers of a delivery. `v1` is HMAC-SHA256 under the secret's bytes, `v1b3` the BLAKE3 keyed hash under a key
 * derived from them, both over `<id>.<timestamp>.<body>`. With several secrets (rotation) the message is signed with
 * each of them. `now` in milliseconds.
 *
 * @throws {MillraceError} `invalid_configuration` for a malformed secret, `invalid_request` for an id with a dot or space
 */
export function signWebhook(secrets: string | readonly string[], message: WebhookMessage, now: number): WebhookHeaders {
  if (!isMessageId(message.id)) {
    throw new MillraceError('invalid_request', 'A webhook id has at least one character and neither dots nor spaces')
  }
  const t = String(Math.floor(now / 1000))
  const keys = (typeof secrets === 'string' ? [secrets] : secrets).map(webhookKey)
  const signatures = keys.flatMap(key => [
    `v1,${base64(hmacOf(key, message, t))}`,
    `v1b3,${base64(blake3Of(key, message, t))}`,
  ])
  return { 'webhook-id': message.id, 'webhook-timestamp': t, 'webhook-signature': signatures.join(' ') }
}

/** Checks a delivery by whichever of `v1b3` and `v1` it carries. Any Standard Webhooks library does as well. */
export function verifyWebhook(
  secret: string,
  headers: Partial<WebhookHeaders>,
  body: Uint8Array,
  now: number,
  toleranceSeconds?: number,
): Verdict {
  const { 'webhook-id': id = '', 'webhook-timestamp': t = '', 'webhook-signature': signatures = '' } = headers
  if (!/^[1-9][0-9]{0,11}$/.test(t) || !isMessageId(id)) return 'invalid_signature'
  const key = webhookKey(secret)
  const expected = [`v1,${base64(hmacOf(key, { id, body }, t))}`, `v1b3,${base64(blake3Of(key, { id, body }, t))}`].map(
    utf8,
  )
  const given = signatures.split(' ').map(utf8)
  if (!given.some(one => expected.some(other => equalBytes(one, other)))) return 'invalid_signature'
  return isFresh(Number(t), now, toleranceSeconds) ? 'valid' : 'stale_timestamp'
}

/** 24 to 64 bytes, as the specification asks for. */
function webhookKey(secret: string): Uint8Array {
  const bytes = secret.startsWith(PREFIX) ? unbase64(secret.slice(PREFIX.length)) : undefined
  if (bytes === undefined || bytes.length < 24 || bytes.length > 64) {
    throw new MillraceError('invalid_configuration', 'A webhook secret is whsec_ followed by 24 to 64 bytes in base64')
  }
  return bytes
}

const hmacOf = (key: Uint8Array, { id, body }: WebhookMessage, t: string): Uint8Array =>
  hmac
    .create(sha256, key)
    .update(utf8(`${id}.${t}.`))
    .update(body)
    .digest()

const blake3Of = (key: Uint8Array, { id, body }: WebhookMessage, t: string): Uint8Array =>
  macOnce(deriveKey(key, KEY_CONTEXT), `${id}.${t}.`, body)
