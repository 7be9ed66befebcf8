// Declaring a schedule: which kind of job is enqueued at the times of a cron expression, checked where it is written.

import { acceptedArgs, parseArgs } from './args.ts'
import { checkInteger, checkName, isLength, refuse } from './declaration.ts'
import type { Json } from './json.ts'
import { jsonText } from './json-text.ts'
import type { ArgsOf, Kind } from './kind.ts'
import { type MissedPolicy, nextOccurrences } from './schedule.ts'

/** Everything about a schedule but its kind and arguments. */
export interface ScheduleOptions {
  /** 1 to 200 characters, unique in the manifest. */
  readonly name: string
  /**
   * 5 fields (minute, hour, day of month, month, day of week), or 6 with seconds first; as
   * [croner](https://croner.56k.guru) reads them, with `L`, `W` and `#`.
   */
  readonly cron: string
  /** IANA name of the zone in which the fields are read: `UTC`. */
  readonly timezone?: string
  /** The kind's, unless given. */
  readonly queue?: string
  /** 1 to 4; the kind's, unless given. */
  readonly priority?: number
  /** 1 to 1000; the kind's, unless given. */
  readonly maxAttempts?: number
  readonly tags?: readonly string[]
  /** Travels with every job, beside `schedule: { name, at }`. */
  readonly metadata?: { readonly [key: string]: Json | undefined }
  /**
   * What happens to occurrences that nobody fired in time, after an outage: `coalesce` (default) fires the latest of them,
   * `skip` those that are at most a minute late, `catch_up` all of them, in order.
   */
  readonly missed?: MissedPolicy
  /** While the last occurrence's job is open: `allow` (default) another, `skip` the new one, `cancel` the old one. */
  readonly overlap?: 'allow' | 'skip' | 'cancel'
}

/** A declared schedule, for {@link defineManifest}. */
export interface Schedule extends ScheduleOptions {
  readonly kind: Kind
  readonly args: unknown
  readonly timeArg?: string
}

/** What {@link defineSchedule} takes. */
export interface ScheduleDeclaration<K extends Kind, Field extends string> extends ScheduleOptions {
  readonly kind: K
  /** Those of every job; without the field that `timeArg` names. */
  readonly args: [Field] extends [never] ? ArgsOf<K> : Omit<ArgsOf<K>, Field>
  /** The field of `args` that is given the occurrence's own time, as `2026-03-29T01:00:00.000Z`. */
  readonly timeArg?: Field
}

/**
 * Declares a schedule.
 *
 * @throws {MillraceError} `invalid_declaration`, and `invalid_args` when the kind's schema refuses the arguments
 *   (an asynchronous schema is asked by `syncManifest`)
 * @example
 * export const nightly = defineSchedule({
 *   name: 'nightly_report',
 *   cron: '30 2 * * *',
 *   timezone: 'Europe/Berlin',
 *   kind: report,
 *   args: { format: 'pdf' },
 *   timeArg: 'day',
 * })
 */
export function defineSchedule<K extends Kind, const Field extends keyof ArgsOf<K> & string = never>(
  declaration: ScheduleDeclaration<K, Field>,
): Schedule {
  const schedule: Schedule = Object.freeze({ ...declaration })
  checkSchedule(schedule)
  return schedule
}

/** @throws {MillraceError} `invalid_declaration`, `invalid_args` */
export function checkSchedule(schedule: Schedule): void {
  checkName('schedule', schedule.name)
  const where = `Schedule "${schedule.name}"`
  checkTimes(where, schedule)
  if (schedule.queue !== undefined && !isLength(schedule.queue)) refuse(where, 'queue has 1 to 200 characters')
  checkInteger(where, 'priority', schedule.priority, 1, 4)
  checkInteger(where, 'maxAttempts', schedule.maxAttempts, 1, 1000)
  checkPolicies(where, schedule)
  jsonText([schedule.tags, schedule.metadata].filter(Boolean), 'invalid_declaration', `${where}: tags and metadata`)
  if (schedule.metadata && 'schedule' in schedule.metadata) refuse(where, 'metadata.schedule is set by each occurrence')
  checkArgs(where, schedule)
}

/** For schemas that answer with a promise, which nobody could wait for before. */
export async function checkArgsAsync(schedule: Schedule): Promise<void> {
  await parseArgs(schedule.kind, argsAt(schedule, new Date()))
}

/** The schedule in the database's names. */
export const scheduleRow = (schedule: Schedule): object => ({
  name: schedule.name,
  expression: schedule.cron,
  timezone: schedule.timezone ?? 'UTC',
  kind: schedule.kind.name,
  args: schedule.args,
  time_arg: schedule.timeArg,
  queue: schedule.queue,
  priority: schedule.priority,
  max_attempts: schedule.maxAttempts,
  tags: schedule.tags,
  metadata: schedule.metadata,
  missed: schedule.missed ?? 'coalesce',
  overlap: schedule.overlap ?? 'allow',
})

function checkTimes(where: string, { cron, timezone = 'UTC' }: Schedule): void {
  let next: Date[]
  try {
    next = nextOccurrences({ expression: cron, timezone }, 1, new Date())
  } catch (error) {
    refuse(where, (error as Error).message)
  }
  if (next.length === 0) refuse(where, `"${cron}" never comes`)
}

function checkPolicies(where: string, { missed, overlap }: Schedule): void {
  if (!['coalesce', 'skip', 'catch_up', undefined].includes(missed))
    refuse(where, 'missed is "coalesce", "skip" or "catch_up"')
  if (!['allow', 'skip', 'cancel', undefined].includes(overlap)) refuse(where, 'overlap is "allow", "skip" or "cancel"')
}

function checkArgs(where: string, schedule: Schedule): void {
  jsonText(schedule.args, 'invalid_args', `${where}: args`)
  if (schedule.timeArg !== undefined && !isObject(schedule.args)) refuse(where, 'timeArg needs args that are an object')
  const checked = schedule.kind.args['~standard'].validate(argsAt(schedule, new Date()))
  if (!(checked instanceof Promise)) acceptedArgs(schedule.kind, checked)
}

/** The arguments of the job of one occurrence. */
const argsAt = ({ args, timeArg }: Schedule, at: Date): unknown =>
  timeArg === undefined ? args : { ...(args as object), [timeArg]: at.toISOString() }

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value)
