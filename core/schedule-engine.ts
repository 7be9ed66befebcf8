// The verbs of migrations/functions/schedule.sql over the Sql port: each method is one call, one round trip.

import { translatingErrors } from './database-errors.ts'
import type { Json } from './json.ts'
import { type MissedPolicy, nextOccurrences } from './schedule.ts'
import { arrayLiteral, quoteIdentifier, type Sql, type SqlValue } from './sql.ts'

/** A schedule that is to be looked at. */
export interface DueSchedule {
  readonly name: string
  readonly expression: string
  readonly timezone: string
  readonly missed: MissedPolicy
  /** As the database wrote it, to the microsecond: hand it back as it is. */
  readonly done_to: string
}

export interface DueSchedules {
  /** By the database's clock. */
  readonly now: string
  /** Until the next of the schedules that are not due; null: none of them ever will be. */
  readonly next_in_ms: number | null
  readonly schedules: readonly DueSchedule[]
}

/** What became of a try to fire. */
export type Fired =
  | { readonly state: 'fired'; readonly jobs: readonly number[]; readonly skipped: number }
  /** Somebody else moved, paused, changed or removed it in the meantime. */
  | { readonly state: 'stale' }
  | { readonly state: 'failed'; readonly error: ScheduleError; readonly retry_in_ms: number }

export interface ScheduleError {
  readonly code: string
  readonly message: string
  readonly since: string
  readonly tries: number
}

/** A schedule as operators see it. Times are ISO 8601. */
export interface ScheduleView {
  readonly name: string
  readonly expression: string
  readonly timezone: string
  readonly kind: string
  readonly args: Json
  readonly time_arg: string | null
  readonly queue: string | null
  readonly priority: number | null
  readonly max_attempts: number | null
  readonly tags: readonly string[] | null
  readonly metadata: Readonly<Record<string, Json>> | null
  readonly missed: MissedPolicy
  readonly overlap: 'allow' | 'skip' | 'cancel'
  readonly source: string
  readonly created_at: string
  /** The last occurrence that became a job, and that job. */
  readonly last_at: string | null
  readonly last_job: number | null
  /** Occurrences that became no job because the last one was open. */
  readonly skipped: number
  /** Why it could not be fired; null once it was. */
  readonly error: ScheduleError | null
  readonly paused_at: string | null
  readonly paused_by: string | null
  /** The next occurrences, also while it is paused; empty when there are none, or none that can be computed. */
  readonly next: readonly string[]
}

/** Names the leader that fires; its writes are refused once it is deposed. */
export type Epoch = string | number | bigint

const NEXT_SHOWN = 5

/** Schedules in one schema of one database. */
export class ScheduleEngine {
  readonly #sql: Sql
  readonly #schema: string
  readonly #by: string | null

  /** `by`: who asks, for the audit log. */
  constructor(sql: Sql, options: { readonly schema?: string | undefined; readonly by?: string | undefined } = {}) {
    this.#sql = sql
    this.#by = options.by ?? null
    this.#schema = quoteIdentifier(options.schema ?? 'millrace')
  }

  async due(max: number): Promise<DueSchedules> {
    return (await this.#one<DueSchedules>('due_schedules($1::text::int)', [max])) as DueSchedules
  }

  /** Makes jobs of the occurrences and moves the schedule on, in one transaction. */
  async fire(
    schedule: DueSchedule,
    { occurrences, doneTo, nextAt }: { occurrences: readonly Date[]; doneTo: Date; nextAt: Date | undefined },
    epoch?: Epoch,
  ): Promise<Fired> {
    const call =
      'fire_schedule($1::text, $2::text::timestamptz, $3::text::timestamptz[], $4::text::timestamptz, $5::text::timestamptz, $6::text::bigint)'
    const times = arrayLiteral(occurrences.map(at => at.toISOString()))
    const params = [schedule.name, schedule.done_to, times, doneTo.toISOString(), nextAt?.toISOString() ?? null]
    return (await this.#one<Fired>(call, [...params, text(epoch)])) as Fired
  }

  /** Puts on record why a schedule cannot be fired; it is tried again later. */
  async fail(schedule: DueSchedule, error: { code: string; message: string }, epoch?: Epoch): Promise<Fired> {
    const call = 'fail_schedule($1::text, $2::text::timestamptz, $3::text, $4::text, $5::text::bigint)'
    const params = [schedule.name, schedule.done_to, error.code, error.message, text(epoch)]
    return (await this.#one<Fired>(call, params)) as Fired
  }

  /** False: it was paused before, by whoever `paused_by` says. Undefined: there is no such schedule. */
  async pause(name: string, by?: string): Promise<boolean | undefined> {
    return this.#one<boolean>('pause_schedule($1::text, $2::text, $3::text)', [name, by ?? this.#by, this.#by])
  }

  /** From now on: what was due while it was paused is not made up for. False: it was not paused. Undefined: no such schedule. */
  async resume(name: string): Promise<boolean | undefined> {
    return this.#one<boolean>('resume_schedule($1::text, $2::text)', [name, this.#by])
  }

  /** Enqueues a job at once, paused or not; the schedule does not move. The job's id; undefined: no such schedule. */
  async trigger(name: string): Promise<string | undefined> {
    return this.#one<string>('trigger_schedule($1::text, $2::text)::text', [name, this.#by])
  }

  async list(): Promise<ScheduleView[]> {
    const rows = await this.#query<{ value: Omit<ScheduleView, 'next'> }>(
      `select value from ${this.#schema}.list_schedules() as value`,
    )
    return rows.map(({ value }) => ({ ...value, next: nextTimes(value) }))
  }

  async #one<T>(call: string, params: readonly SqlValue[]): Promise<T | undefined> {
    const [row] = await this.#query<{ value: T | null }>(`select ${this.#schema}.${call} as value`, params)
    return row?.value ?? undefined
  }

  #query<Row>(statement: string, params: readonly SqlValue[] = []): Promise<Row[]> {
    return translatingErrors(() => this.#sql.query<Row>(statement, params))
  }
}

const text = (epoch: Epoch | undefined): string | null => (epoch === undefined ? null : String(epoch))

/** One that was declared in plain SQL may be wrong; its error is on record. */
function nextTimes(schedule: { expression: string; timezone: string }): string[] {
  try {
    return nextOccurrences(schedule, NEXT_SHOWN, new Date()).map(at => at.toISOString())
  } catch {
    return []
  }
}
