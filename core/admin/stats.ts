// Numbers by queue and by kind, as migrations/functions/stats.sql counts or estimates them.

/** How many jobs are in each state. What `estimated` names is an estimate: counting it would cost too much. */
export interface Counts {
  readonly available: number
  readonly scheduled: number
  readonly retryable: number
  readonly running: number
  readonly waiting_external: number
  readonly dead_letters: number
  readonly completed_last_hour: number
  readonly failed_last_hour: number
  readonly cancelled_last_hour: number
  readonly estimated: readonly string[]
}

/** A queue that was ever used, declared or paused. Times are ISO 8601. */
export interface QueueStats extends Counts {
  readonly queue: string
  readonly paused_at: string | null
  readonly paused_by: string | null
  /** The application that declared it; null: none did. */
  readonly source: string | null
  readonly weight: number
  readonly shards: number
  readonly max_running: number | null
  /** Attempts per second. */
  readonly rate: number | null
  readonly burst: number | null
  readonly key_rate: number | null
  readonly key_burst: number | null
  /** How long the first of the available jobs has waited; null: none waits. */
  readonly lag_seconds: number | null
}

/** A kind that is declared, or of which there are jobs. */
export interface KindStats extends Counts {
  readonly kind: string
  /** Where its jobs go unless they say otherwise; null: it does not say. */
  readonly queue: string | null
  readonly source: string | null
}
