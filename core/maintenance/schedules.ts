// Fires schedules: reads which are due by the database's clock, computes their occurrences, and hands them to the database,
// which lets exactly one process enqueue each.

import type { OnEvent } from '../dispatch/events.ts'
import { MillraceError } from '../errors.ts'
import { type Due, dueOccurrences } from '../schedule.ts'
import { type DueSchedule, type Epoch, type Fired, ScheduleEngine } from '../schedule-engine.ts'
import type { Sql } from '../sql.ts'

export interface SchedulesOptions {
  readonly sql: Sql
  /** `millrace` unless given. */
  readonly schema?: string | undefined
  readonly onEvent?: OnEvent | undefined
}

/** Schedules fired in one pass; when there are more, the next pass follows at once. */
const BATCH = 100
/** Nothing comes for that long: it looks again anyway. */
const IDLE_MS = 3_600_000
/** Somebody else was quicker; when the schedule is due next is in the database by now. */
const STALE_MS = 100

/**
 * Any number of these may run at once, and each may die at any point: an occurrence becomes a job in the statement that
 * moves its schedule past it, and only if nobody else has moved it since it was read. What cannot be fired is put on
 * record, reported and tried again later, while the others go on.
 */
export class Schedules {
  readonly #engine: ScheduleEngine
  readonly #onEvent: OnEvent

  constructor({ sql, schema, onEvent = () => undefined }: SchedulesOptions) {
    this.#engine = new ScheduleEngine(sql, { schema })
    this.#onEvent = onEvent
  }

  /**
   * Fires what is due. Answers in how many milliseconds it wants to run again; wake it earlier when a manifest was synced
   * or a schedule resumed. With an epoch it does so only as that leader.
   *
   * @throws when the database cannot be reached, or this leader was deposed
   */
  async runOnce(epoch?: Epoch): Promise<number> {
    const started = performance.now()
    const { now, next_in_ms, schedules } = await this.#engine.due(BATCH)
    let next = next_in_ms ?? IDLE_MS
    for (const schedule of schedules) next = Math.min(next, await this.#fire(schedule, new Date(now), epoch))
    if (schedules.length === BATCH) return 0
    return Math.ceil(Math.min(IDLE_MS, Math.max(0, next - (performance.now() - started))))
  }

  /** Milliseconds from `now` until the schedule wants to be looked at again. */
  async #fire(schedule: DueSchedule, now: Date, epoch: Epoch | undefined): Promise<number> {
    let due: Due
    let fired: Fired
    try {
      due = dueOccurrences(schedule, new Date(schedule.done_to), now)
      fired = await this.#engine.fire(schedule, due, epoch)
    } catch (error) {
      // Where the database cannot be reached this fails too, and ends the pass.
      return this.#failed(schedule, await this.#engine.fail(schedule, described(error), epoch))
    }
    if (fired.state !== 'fired') return this.#failed(schedule, fired)
    const { jobs, skipped } = fired
    if (jobs.length + skipped > 0) this.#onEvent({ type: 'fired', schedule: schedule.name, jobs: jobs.length, skipped })
    return due.nextAt === undefined ? IDLE_MS : due.nextAt.getTime() - now.getTime()
  }

  #failed(schedule: DueSchedule, fired: Fired): number {
    if (fired.state !== 'failed') return STALE_MS
    const { code, message } = fired.error
    this.#onEvent({ type: 'error', during: `schedule ${schedule.name}`, error: new Error(`${code}: ${message}`) })
    return fired.retry_in_ms
  }
}

const described = (error: unknown): { code: string; message: string } => ({
  code: error instanceof MillraceError ? error.code : codeOf(error),
  message: error instanceof Error ? error.message : String(error),
})

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'error'
