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
  /** On a function's answer: `true` says that its body is a {@link WaitBody}, and the attempt waits for an event. */
  wait: 'millrace-wait',
  /** `<key id>:<hex>`: makes the tokens that let events of this job in. */
  eventKey: 'millrace-event-key',
} as const

/** What stands for the method in the signature of a dispatch that is an invocation of Lambda; for the path, the function's name. */
export const INVOKE = 'INVOKE'

/** Where callbacks go, below the ingress's base URL, unless configured otherwise. */
export const CALLBACK_PREFIX = '/api/callbacks'

/** Where events by token come in, below the same base URL, unless configured otherwise. */
export const EVENTS_PREFIX = '/api/events'

/** How long an accepted attempt may stay silent, and by how much a heartbeat moves that, unless said otherwise. As Awa. */
export const CALLBACK_TIMEOUT_SECONDS = 3600

/** How long a wait lasts unless said otherwise: a day. */
export const WAIT_TIMEOUT_SECONDS = 86_400

/** What a function can tell us of its attempt. */
export type CallbackAction = 'complete' | 'fail' | 'heartbeat' | 'wait'

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
  readonly progress?: Progress & { readonly events?: { readonly [name: string]: ReceivedEvent | undefined } }
  readonly metadata?: { readonly [key: string]: Json | undefined }
  /** Where events by token go: the token comes after it. Present when the dispatcher knows its ingress. */
  readonly events_url?: string
}

/** An event that the job went on with. */
export interface ReceivedEvent {
  readonly payload?: Json
  /** ISO 8601. */
  readonly at: string
  /** It did not come in time. */
  readonly timed_out?: boolean
}

/** What an event does. `event`: what the rules of the wait say. */
export type EventAction = 'event' | 'resume' | 'complete' | 'fail' | 'retry'

/** What a wait makes of events: CEL expressions over `payload`. Without any, every event resumes the job. */
export interface WaitRules {
  /** Events for which it is not true are ignored. */
  readonly filter?: string
  /** Fails the job when true. */
  readonly on_fail?: string
  /** Completes the job when true. */
  readonly on_complete?: string
  /** What the payload becomes. */
  readonly transform?: string
  /** For events that neither fail nor complete it: `resume`. */
  readonly default_action?: 'resume' | 'complete' | 'fail' | 'ignore'
}

/** The body of a wait. */
export interface WaitBody extends WaitRules {
  /** Of the event: 1 to 200 characters. */
  readonly name: string
  /** {@link WAIT_TIMEOUT_SECONDS} unless given; up to ten years. */
  readonly timeout_seconds?: number
  /** What becomes of the attempt then: `fail`. */
  readonly on_timeout?: 'fail' | 'retry' | 'resume'
  readonly progress?: Progress
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
