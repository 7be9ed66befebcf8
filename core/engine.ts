// The engine's verbs, typed: each is one SQL function of migrations/functions and one round trip.

import type { Json } from './json.ts'
import type { EventAction, JobState, Progress, WaitRules } from './wire.ts'

/** Names one attempt of one job: what a callback id carries and what the fence is on. `segment` and `id` are int8 as text. */
export interface AttemptRef {
  readonly segment: string
  readonly id: string
  readonly attempt: number
}

/** One text per attempt, to tell them apart by. */
export const attemptName = ({ segment, id, attempt }: AttemptRef): string => `${segment}.${id}.${attempt}`

/** How an attempt ended, as its closer asks for it. */
export type Outcome =
  /** `error` says why there is no result where there should be one. */
  | { readonly kind: 'completed'; readonly result?: Json | undefined; readonly error?: AttemptError | undefined }
  /** Retried by the job's policy while attempts are left, unless `retryable` is false. */
  | {
      readonly kind: 'failed'
      readonly error: AttemptError
      readonly retryable: boolean
      /** Overrides the policy's backoff, in milliseconds. */
      readonly delayMs?: number | undefined
    }
  /** Put back without using up an attempt (throttled, no target yet); a failure once that has gone on for too long. */
  | { readonly kind: 'put_back'; readonly error: AttemptError; readonly delayMs: number }
  /** Again later because the function says so: no failure, costs no attempt, as often as it likes. */
  | { readonly kind: 'snoozed'; readonly delayMs: number }
  /** Handed back at once without using up an attempt (a dispatcher that drains). */
  | { readonly kind: 'released' }

export interface AttemptError {
  readonly message: string
  /** What went wrong, for machines: `http_500`, `timeout`, `callback_timeout`, `reported` ... */
  readonly code: string
}

/** On record instead of a result that is too large to be kept. The engine says the same of those it refuses. */
export const RESULT_TOO_LARGE: AttemptError = {
  code: 'result_too_large',
  message: 'the result is too large to be kept',
}

export interface CloseItem extends AttemptRef {
  readonly outcome: Outcome
}

/** What is on record for the attempt once `close` has answered. */
export interface Closed {
  /**
   * The attempt's recorded end: `completed`, `failed`, `cancelled`; `retryable` or `available` when the job goes on
   * with a later attempt; `unknown` when no such attempt can be closed (any more).
   */
  readonly state: Extract<JobState, 'completed' | 'failed' | 'cancelled' | 'retryable' | 'available'> | 'unknown'
  /** True for the one call that closed the attempt; false when it was closed before and nothing changed. */
  readonly fresh: boolean
  /** The recorded result of a completed attempt. */
  readonly result?: Json | undefined
  /** True when this call closed the attempt as completed, but its result was too large to be kept. */
  readonly resultTooLarge?: true
}

export interface HeartbeatItem extends AttemptRef {
  readonly timeoutSeconds: number
  readonly progress?: Progress | undefined
}

export interface Beat {
  /** `running` or `waiting_external` while the attempt is open, else its recorded end as in {@link Closed}. */
  readonly state: Closed['state'] | 'running' | 'waiting_external'
  /** How long the attempt may now stay silent, in seconds, where its kind's time limit leaves less than was asked for. */
  readonly timeoutSeconds?: number | undefined
}

/** An attempt that ends by waiting for an event, or by one that came before. */
export interface WaitItem extends AttemptRef {
  readonly name: string
  readonly timeoutSeconds: number
  readonly onTimeout: 'fail' | 'retry' | 'resume'
  readonly rules?: WaitRules | undefined
  /** Merged in the same transaction: a checkpoint. */
  readonly progress?: Progress | undefined
}

/** What the rules of a wait make of an event that they do not ignore. */
export interface EventVerdict {
  readonly action: 'resume' | 'complete' | 'fail'
  readonly payload?: Json | undefined
}

/** On which kept events the rules were tried so far. */
export interface Tried {
  readonly seen: number
  /** Of the first that was not ignored. */
  readonly verdict: (EventVerdict & { readonly id: number }) | undefined
}

export type Waited =
  | { readonly answer: 'waiting' | 'unknown' }
  /** A kept event has ended the attempt, or something else had before. */
  | { readonly answer: 'applied' | 'closed'; readonly state: Closed['state'] }
  /** Kept events for the rules to be tried on, oldest first. */
  | { readonly answer: 'events'; readonly events: readonly { readonly id: number; readonly payload: Json }[] }

export interface EventItem {
  readonly job: string
  readonly name: string
  readonly action: EventAction
  readonly payload?: Json | undefined
  /** With an action that the rules of this attempt's wait came to. */
  readonly forAttempt?: number | undefined
}

export type EventTaken =
  | { readonly answer: 'applied'; readonly state: JobState }
  | { readonly answer: 'kept' | 'gone' | 'unknown' | 'full' }
  | { readonly answer: 'ended'; readonly state: JobState }
  | { readonly answer: 'evaluate'; readonly attempt: number; readonly rules: WaitRules }

/** Where attempts wait and events come in. */
export interface EventStore {
  wait(item: WaitItem, tried?: Tried): Promise<Waited>
  sendEvent(item: EventItem): Promise<EventTaken>
}

/** The verbs the callback ingress needs. */
export interface CallbackStore extends EventStore {
  /** Answers in the order of the items. Each item is fenced on its own. */
  close(items: readonly CloseItem[]): Promise<Closed[]>
  /** Answers in the order of the items. */
  heartbeat(items: readonly HeartbeatItem[]): Promise<Beat[]>
}
