// The wire protocol's shapes and header names (docs/protocol.md): a superset of Awa's HTTP worker contract.

import type { Json } from './json.ts'

export const HEADER = {
  /** Hex BLAKE3 keyed hash of `callback_id`: Awa's bearer capability. */
  compatibleSignature: 'x-awa-signature',
  /** Dispatch: `t=<unix s>,kid=<key id>,v1=<hex>`; callback: `t=<unix s>,v1=<hex>`. */
  signature: 'millrace-signature',
  /** Hex key, valid for this attempt only, with which the function signs its callbacks. */
  attemptKey: 'millrace-attempt-key',
  attempt: 'millrace-attempt',
  /** ISO 8601 instant after which the attempt is given up. */
  deadline: 'millrace-deadline',
  /** Stable for all attempts of a job. */
  idempotencyKey: 'idempotency-key',
  /** On a function's answer: `true` makes any failure final, `false` makes any failure retryable, whatever the status. */
  noRetry: 'millrace-no-retry',
  /** On a function's answer: the attempt ends without having failed, and the job comes again in so many seconds. */
  snooze: 'millrace-snooze',
} as const

/** Where callbacks go, below the ingress's base URL, unless configured otherwise. */
export const CALLBACK_PREFIX = '/api/callbacks'

/** How long an accepted attempt may stay silent, and by how much a heartbeat moves that, unless said otherwise. As Awa. */
export const CALLBACK_TIMEOUT_SECONDS = 3600

/** What a function can tell us of its attempt. */
export type CallbackAction = 'complete' | 'fail' | 'heartbeat'

/** Progress of a running job; `metadata` is a checkpoint handed to the next attempt. */
export interface Progress {
  /** 0 to 100. */
  readonly percent?: number | undefined
  readonly message?: string | undefined
  readonly metadata?: { readonly [key: string]: Json | undefined } | undefined
}

/** The body of a dispatch (POST, JSON). `callback_*` are present in callback mode only. */
export interface DispatchBody {
  readonly job_id: number
  readonly kind: string
  readonly args: Json
  /** 1 for the first; only ever grows. */
  readonly attempt: number
  readonly max_attempts: number
  readonly queue: string
  /** ISO 8601. */
  readonly deadline: string
  /** ISO 8601. */
  readonly enqueued_at: string
  readonly callback_id?: string
  /** Ends in `/complete`. */
  readonly callback_url?: string
  readonly progress?: Progress
  readonly metadata?: { readonly [key: string]: Json | undefined }
}

export interface CompleteBody {
  readonly payload?: Json
  /** There is a result, but it is too large to be sent. */
  readonly payload_too_large?: boolean
}

export interface FailBody {
  /** May be missing only with `snooze_seconds`. */
  readonly error?: string
  /** Final unless true, as in Awa's contract. */
  readonly retryable?: boolean
  /** With `retryable: true`: put the job back for so long, in seconds, without using up an attempt. */
  readonly retry_after_seconds?: number
  /** Instead of all that: again in so many seconds; no failure, and costs no attempt. */
  readonly snooze_seconds?: number
}

export interface HeartbeatBody {
  /** How long from now the attempt may stay silent, in seconds; {@link CALLBACK_TIMEOUT_SECONDS} unless given. */
  readonly timeout_seconds?: number
  readonly progress?: Progress
}

/** The states of a job as users see them. */
export type JobState =
  | 'scheduled'
  | 'available'
  | 'running'
  | 'waiting_external'
  | 'retryable'
  | 'completed'
  | 'failed'
  | 'cancelled'
