// When a schedule is due: the occurrences of a cron expression in a time zone, and which of those nobody fired in time
// are made up for.

import { Cron } from 'croner'
import { MillraceError } from './errors.ts'

/** What happens to occurrences that nobody fired in time. */
export type MissedPolicy = 'coalesce' | 'skip' | 'catch_up'

/** How late an occurrence still counts as on time under `skip`, in milliseconds. */
const GRACE_MS = 60_000
/** How many occurrences one pass makes up for, at most; the next pass goes on. */
export const MOST_AT_ONCE = 1_000

export interface Due {
  /** In order; each becomes a job. */
  readonly occurrences: readonly Date[]
  /** Occurrences up to here are done with once these are fired. */
  readonly doneTo: Date
  /** The one after that; undefined when there is none, ever. */
  readonly nextAt: Date | undefined
}

export interface ScheduleTimes {
  readonly expression: string
  readonly timezone: string
}

/** Which occurrences after `doneTo` and up to `now` are to be fired. */
export function dueOccurrences(
  schedule: ScheduleTimes & { readonly missed: MissedPolicy },
  doneTo: Date,
  now: Date,
): Due {
  const cron = parse(schedule)
  const from = Math.max(doneTo.getTime(), firstWanted(cron, schedule.missed, now))
  const occurrences = between(cron, new Date(from), now)
  const last = occurrences.length === MOST_AT_ONCE ? occurrences.at(-1) : undefined
  const end = last ?? new Date(Math.max(now.getTime(), doneTo.getTime()))
  return { occurrences, doneTo: end, nextAt: cron.nextRun(end) ?? undefined }
}

/** The next `count` occurrences after an instant: fewer when the expression has no more. */
export const nextOccurrences = (schedule: ScheduleTimes, count: number, after: Date): Date[] =>
  parse(schedule).nextRuns(count, after)

/** Only occurrences after this instant are wanted, in milliseconds since 1970. */
function firstWanted(cron: Cron, missed: MissedPolicy, now: Date): number {
  if (missed === 'catch_up') return Number.NEGATIVE_INFINITY
  if (missed === 'skip') return now.getTime() - GRACE_MS - 1
  const [latest] = cron.previousRuns(1, new Date(now.getTime() + 1))
  return latest === undefined ? now.getTime() : latest.getTime() - 1
}

/** After `from`, up to and with `to`. */
function between(cron: Cron, from: Date, to: Date): Date[] {
  const found: Date[] = []
  let at = cron.nextRun(from)
  while (at !== null && at <= to && found.length < MOST_AT_ONCE) {
    found.push(at)
    at = cron.nextRun(at)
  }
  return found
}

const FIELDS = /^\s*\S+(\s+\S+){4,5}\s*$/

/**
 * A wall-clock time that a zone skips in spring is fired at the first instant after the gap, one that it repeats in autumn
 * is fired the first time only; expressions with `*` or a step in their time go by what passes, so they skip the gap and
 * fire in both hours.
 *
 * @throws {MillraceError} `invalid_declaration`
 */
function parse({ expression, timezone }: ScheduleTimes): Cron {
  if (!FIELDS.test(expression)) throw invalid(`"${expression}" does not have 5 or 6 fields`)
  checkTimezone(timezone)
  try {
    return new Cron(expression, { timezone, mode: '5-or-6-parts', fixedTimeRule: 'no-wildcard', paused: true })
  } catch (error) {
    throw invalid((error as Error).message, error)
  }
}

function checkTimezone(timezone: string): void {
  try {
    // Offsets are zones to some runtimes only.
    if (/^[+-]/.test(timezone)) throw new RangeError(timezone)
    new Intl.DateTimeFormat('en', { timeZone: timezone })
  } catch (error) {
    throw invalid(`"${timezone}" is not the IANA name of a time zone`, error)
  }
}

const invalid = (message: string, cause?: unknown): MillraceError =>
  new MillraceError('invalid_declaration', message, { cause })
