// An attempt to deliver a webhook, as the engine puts it on the log of deliveries when it closes the attempt.

import type { Closed, CloseItem } from './engine.ts'

export interface DeliveryReport {
  readonly endpoint: string
  /** `webhook-id`. */
  readonly message: string
  /** `job.completed` ... */
  readonly event: string
  /** The job that the event is about. */
  readonly about?: number | undefined
  /** The answer's; without one, `code` says why. */
  readonly status?: number | undefined
  readonly code?: string | undefined
  /** From the request to the answer, or to where it failed; without it nothing was sent. */
  readonly latency_ms?: number | undefined
  /** How the answer began. */
  readonly response?: string | undefined
}

export interface DeliverItem extends CloseItem {
  readonly report: DeliveryReport
}

export interface Delivered extends Closed {
  /** Why this attempt has made its endpoint be disabled. */
  readonly disabled?: 'gone' | 'failing' | undefined
}

/** Where deliveries to an endpoint go. */
export interface EndpointRow {
  readonly name: string
  /** Hears of that tenant's jobs only. */
  readonly tenant: string | null
  readonly url: string
  readonly disabled_reason: string | null
  /** What signs, the newest first; they may be sealed. */
  readonly secrets: readonly string[]
}
