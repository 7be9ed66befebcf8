// What the engine's SQL functions answer: claimed jobs, kinds and their targets, jobs as users see them.

import type { AttemptRef } from './engine.ts'
import type { Json } from './json.ts'
import type { LambdaFunction } from './lambda-target.ts'
import type { SecretReference, TargetAuth } from './target-auth.ts'
import type { JobState } from './wire.ts'

/** A job as `claim` hands it out. Texts of JSON stay texts: a dispatcher only passes them on. */
export interface ClaimedJob extends AttemptRef {
  readonly max_attempts: number
  readonly kind: string
  readonly queue: string
  readonly args: string
  readonly metadata: string | null
  readonly progress: string | null
  /** Milliseconds since 1970. */
  readonly enqueued_ms: number
}

/** What dispatchers know of a kind. */
export interface KindRow {
  readonly name: string
  readonly time_limit_seconds: number | null
  readonly target: TargetRow | null
}

/** A kind's target as the manifest declares it. */
export interface TargetRow {
  /** It or `lambda`. */
  readonly url?: string
  readonly lambda?: LambdaFunction
  readonly mode?: 'sync' | 'callback'
  readonly request_timeout_seconds?: number
  readonly callback_timeout_seconds?: number
  readonly concurrency?: number
  readonly compatible?: boolean
  readonly headers?: Readonly<Record<string, string | SecretReference>>
  readonly auth?: TargetAuth
  readonly statuses?: { readonly retry?: readonly number[]; readonly final?: readonly number[] }
}

/** An attempt's failure as a job's history keeps it. */
export interface JobError {
  readonly attempt: number
  /** ISO 8601. */
  readonly at: string
  readonly code?: string
  readonly message?: string
  /** After this one an operator retried the job, and waits between attempts began anew. */
  readonly retried?: boolean
}

/** What `job` answers: one job as users see it. Times are ISO 8601. */
export interface JobView {
  readonly id: number
  readonly kind: string
  readonly queue: string
  readonly priority: number
  readonly state: JobState
  readonly attempt: number
  readonly max_attempts: number
  readonly args: Json
  readonly tags: readonly string[]
  readonly metadata: Readonly<Record<string, Json>>
  readonly progress: Json
  readonly errors: readonly JobError[]
  readonly put_back: { since: string; code?: string; message?: string } | null
  /** The event that it waits for. */
  readonly wait: { readonly name: string; readonly since: string; readonly deadline: string } | null
  readonly result: Json
  readonly unique_key: string | null
  readonly dead_letter: { readonly reason: string; readonly died_at: string; readonly expires_at: string } | null
  readonly enqueued_at: string
  readonly run_at: string
  readonly attempted_at: string | null
  readonly finished_at: string | null
}

/** How many attempts `rescue` has closed, and how many it could not close. */
export interface Rescued {
  /** Past their deadline, without a sign of life. */
  readonly parked: number
  /** Of dispatchers that died. */
  readonly lost: number
  readonly stuck: number
}
