// What a handler is told of its job, and what it can say while it works.

import type { Json } from '../json.ts'
import type { Progress } from '../wire.ts'
import type { Events } from './events.ts'
import type { Occurrence } from './occurrence.ts'

export interface Job extends Events {
  readonly id: string
  readonly kind: string
  readonly queue: string
  /** 1 for the first; only ever grows. */
  readonly attempt: number
  readonly maxAttempts: number
  /** When the attempt is given up. Moves on with every heartbeat. */
  readonly deadline: Date
  readonly enqueuedAt: Date
  readonly metadata: { readonly [key: string]: Json | undefined }
  /** Of a job that a schedule enqueued: which one, and the occurrence's own time. */
  readonly schedule: Occurrence | undefined
  /** The last known progress: of an earlier attempt at first, then what {@link setProgress} made of it. */
  readonly progress: Progress | undefined
  /** The same for all attempts of the job. */
  readonly idempotencyKey: string
  /**
   * Fires at the deadline (reason `deadline_exceeded`), and when a heartbeat learns that the job was cancelled
   * (`cancelled`) or the attempt closed elsewhere (`attempt_closed`).
   */
  readonly signal: AbortSignal

  /**
   * Says that the attempt is alive and moves its deadline to `timeoutSeconds` from now; unless given, as far ahead as
   * the dispatch first put it. In sync mode there is nobody to tell and nothing happens.
   *
   * @throws {MillraceError} `callback_undelivered` when the ingress could not be reached or refused
   */
  heartbeat(options?: { readonly timeoutSeconds?: number }): Promise<void>

  /**
   * Sets percent and message where given and merges `metadata` (shallowly), then sends all of it with a heartbeat.
   * Never rejects: what could not be sent goes with the next one. Calls made while one is on its way share the next.
   */
  setProgress(progress: Progress): Promise<void>
}
