// Checking a webhook: Standard Webhooks with the raw body, whatever server it came to.

import { MillraceError } from '../errors.ts'
import type { Json } from '../json.ts'
import { TOLERANCE_SECONDS } from '../protocol/signature-header.ts'
import { verifyWebhook, type WebhookHeaders } from '../protocol/webhook.ts'
import { verifyWebhookAsymmetric } from '../protocol/webhook-ed25519.ts'
import { rawBodyOf } from './raw-body.ts'
import { type HeaderSource, headerIn, jsonIn, MAX_BODY_BYTES, refuseEncoding, refuseMethod } from './receive.ts'
import { Refused } from './refused.ts'

export interface VerifyWebhookOptions {
  /**
   * The endpoint's secrets (`whsec_…`), or public keys (`whpk_…`) where it is signed for with v1a; while one replaces another, both. Or where to find them in the platform's
   * environment (`env => env.WEBHOOK_SECRET` on Workers).
   */
  readonly secrets: string | readonly string[] | ((env: never) => string | readonly string[])
  /** How far the timestamp may be from the clock: 300 s. */
  readonly toleranceSeconds?: number
  /** 4 MiB. */
  readonly maxBodyBytes?: number
  /** Milliseconds. */
  readonly now?: () => number
}

/** What a webhook says. */
export interface WebhookEvent {
  /** `job.completed`, `job.failed` … */
  readonly type: string
  /** ISO 8601. */
  readonly timestamp: string
  readonly data: { readonly [field: string]: Json | undefined }
}

export interface VerifiedWebhook {
  /** The same for every try of one delivery, redeliveries included: what to deduplicate by. */
  readonly id: string
  readonly event: WebhookEvent
  /** The body as it came. */
  readonly bytes: Uint8Array
}

/** A webhook's parts, from whatever server. */
export interface WebhookParts {
  readonly headers: HeaderSource
  /** The raw bytes. */
  readonly body: Uint8Array
}

const NAMES = ['webhook-id', 'webhook-timestamp', 'webhook-signature'] as const

/**
 * Checks a webhook of whatever server.
 *
 * @throws {Refused} with the answer to give in `response()`
 * @throws {MillraceError} `invalid_configuration` for a malformed secret, or none
 */
export async function verifyWebhookMessage(
  { headers, body }: WebhookParts,
  options: VerifyWebhookOptions,
  env?: unknown,
): Promise<VerifiedWebhook> {
  refuseEncoding(headers)
  const { toleranceSeconds = TOLERANCE_SECONDS, now = Date.now } = options
  const signed = Object.fromEntries(NAMES.map(name => [name, headerIn(headers, name) ?? ''])) as WebhookHeaders
  const verdicts: string[] = []
  for (const secret of secretsIn(options, env)) {
    const verify = secret.startsWith('whpk_') ? verifyWebhookAsymmetric : verifyWebhook
    verdicts.push(await verify(secret, signed, body, now(), toleranceSeconds))
  }
  if (!verdicts.includes('valid')) throw refusedBy(verdicts)
  return { id: signed['webhook-id'], event: eventIn(body), bytes: body }
}

/**
 * Checks a webhook that came as a Web `Request`, whose body stays readable.
 *
 * @throws {Refused} with the answer to give in `response()`
 * @example
 * const { id, event } = await verifyWebhookRequest(request, { secrets: process.env.WEBHOOK_SECRET })
 */
export async function verifyWebhookRequest(
  request: Request,
  options: VerifyWebhookOptions,
  env?: unknown,
): Promise<VerifiedWebhook> {
  refuseMethod(request.method)
  const body = await rawBodyOf(request, options.maxBodyBytes ?? MAX_BODY_BYTES)
  return verifyWebhookMessage({ headers: request.headers, body }, options, env)
}

/** Fails closed, and says so: an endpoint without secrets is not set up. */
function secretsIn({ secrets }: VerifyWebhookOptions, env: unknown): readonly string[] {
  const found = typeof secrets === 'function' ? secrets(env as never) : secrets
  const list = typeof found === 'string' ? [found] : (found ?? [])
  if (list.length > 0 && !list.includes('')) return list
  throw new MillraceError('invalid_configuration', 'Verifying webhooks needs a secret')
}

const refusedBy = (verdicts: readonly string[]): Refused =>
  verdicts.includes('stale_timestamp')
    ? new Refused('stale_timestamp', 'The signature is too old')
    : new Refused('invalid_signature', 'Not signed with a known secret')

function eventIn(body: Uint8Array): WebhookEvent {
  const value = jsonIn(body)
  if (isEvent(value)) return value
  throw new Refused('invalid_request', 'The body is not an event')
}

function isEvent(value: unknown): value is WebhookEvent {
  if (typeof value !== 'object' || value === null) return false
  const { type, timestamp, data } = value as Partial<WebhookEvent>
  return typeof type === 'string' && typeof timestamp === 'string' && typeof data === 'object' && data !== null
}
