// A webhook delivery: what its job says, the request that brings it to its endpoint (Standard Webhooks), and what is put on
// the log of deliveries afterwards.

import type { DeliveryReport } from '../delivery-report.ts'
import type { Outcome } from '../engine.ts'
import type { ClaimedJob } from '../engine-rows.ts'
import type { Json } from '../json.ts'
import { utf8 } from '../protocol/bytes.ts'
import { signWebhook, type WebhookHeaders, type WebhookMessage } from '../protocol/webhook.ts'
import { isAsymmetric, signWebhookAsymmetric } from '../protocol/webhook-ed25519.ts'
import type { Route } from './route.ts'
import type { Answer } from './transport.ts'
import type { Sent } from './verdict.ts'

/** The built-in kind of webhook deliveries. */
export const WEBHOOK_KIND = 'millrace.webhook'

/** So many characters of an answer are kept. */
const EXCERPT_LENGTH = 1_000

export interface Delivery {
  readonly endpoint: string
  /** `webhook-id`: the same for every attempt, and for whatever is sent again later. */
  readonly message: string
  /** The event's type. */
  readonly event: string
  /** The job that the event is about. */
  readonly about?: number | undefined
  /** The tenant of that job. */
  readonly tenant: string | undefined
  /** The event as it is sent. */
  readonly body: string
}

interface EventData {
  readonly job_id?: number
  readonly metadata?: { readonly tenant?: Json }
}

interface Payload {
  readonly event: { readonly type: string; readonly data?: EventData }
  readonly endpoint: string
  readonly message?: string
}

export function deliveryOf(job: ClaimedJob): Delivery {
  const { event, endpoint, message = `msg_${job.id}` } = JSON.parse(job.args) as Payload
  const { job_id: about, metadata } = event.data ?? {}
  return { endpoint, message, event: event.type, about, tenant: textOf(metadata?.tenant), body: eventText(job.args) }
}

/** As SQL's `tenant_of` answers it. */
function textOf(tenant: Json | undefined): string | undefined {
  if (tenant === undefined || tenant === null) return undefined
  return typeof tenant === 'string' ? tenant : JSON.stringify(tenant)
}

/** An endpoint may have a name that was another tenant's when this was enqueued. */
export const isFor = ({ about, tenant }: Delivery, endpoint: { readonly tenant: string | null }): boolean =>
  endpoint.tenant === null || about === undefined || tenant === endpoint.tenant

/**
 * The text of the event in `{"event": {…}, "message": "…", "endpoint": "…"}`, of which the message may be missing, as jsonb
 * writes it: keys in this order, quotes inside of texts escaped. Parsing would round the numbers of the job's arguments.
 */
function eventText(args: string): string {
  const text = args.slice('{"event": '.length, args.lastIndexOf(', "endpoint": "'))
  return text.endsWith('"') ? text.slice(0, text.lastIndexOf(', "message": "')) : text
}

/** Body and headers, signed with all of the endpoint's secrets. `now` in milliseconds. */
export async function deliveryParts({ message, body }: Delivery, { secrets = [] }: Route, now: number) {
  const bytes = utf8(body)
  const signed = await signWithAll(secrets, { id: message, body: bytes }, now)
  return { body: bytes, headers: { 'content-type': 'application/json', ...signed } }
}

async function signWithAll(secrets: readonly string[], message: WebhookMessage, now: number): Promise<WebhookHeaders> {
  const timestamp = Math.floor(now / 1000)
  const signatures = await Promise.all(
    secrets.map(secret =>
      isAsymmetric(secret)
        ? signWebhookAsymmetric(secret, message, timestamp)
        : signWebhook(secret, message, now)['webhook-signature'],
    ),
  )
  return {
    'webhook-id': message.id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': signatures.join(' '),
  }
}

/** How the answer began, in what the database can hold. */
export const excerptOf = ({ body }: Answer): string =>
  body.slice(0, EXCERPT_LENGTH).toWellFormed().replaceAll('\0', '\ufffd')

/** What goes on the log; undefined for a delivery that is handed back. */
export function reportOn(
  { endpoint, message, event, about }: Delivery,
  outcome: Outcome,
  sent: Sent | undefined,
): DeliveryReport | undefined {
  // Put back without being sent is no attempt, until that has gone on for too long: the engine knows.
  if (sent === undefined && outcome.kind === 'released') return undefined
  const code = 'error' in outcome ? outcome.error?.code : undefined
  return {
    ...{ endpoint, message, event, about },
    ...(sent?.status === undefined && { code: code ?? 'aborted' }),
    ...(sent && { status: sent.status, latency_ms: Math.round(sent.latencyMs), response: sent.response }),
  }
}
