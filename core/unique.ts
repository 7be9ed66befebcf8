// The options that make a job unique, debounced or throttled, as the parameters that millrace.enqueue takes for them.

import { MillraceError } from './errors.ts'
import { jsonText } from './json-text.ts'
import type { Kind } from './kind.ts'
import { uniqueKey } from './unique-key.ts'
import type { JobState } from './wire.ts'

/** What makes two jobs the same, when no `key` says so: kind and arguments, unless told otherwise. */
export interface UniqueBy {
  /** Any text of 1 to 200 characters instead of what follows. One namespace for all kinds. */
  readonly key?: string | undefined
  /** The arguments are part of the key: true. */
  readonly byArgs?: boolean | undefined
  /** The queue is part of the key: false. */
  readonly byQueue?: boolean | undefined
}

export interface UniqueOptions extends UniqueBy {
  /** The number of the period of this length is part of the key, by this process's clock: a new key in every period. */
  readonly periodSeconds?: number | undefined
  /** In which states a job holds its key: all but `failed` and `cancelled`. */
  readonly states?: readonly JobState[] | undefined
  /**
   * When another job holds the key. `existing` (default): nothing is enqueued, its id is answered. `error`: refused with
   * `unique_conflict`. `replace`: if it has not begun, it gets these arguments, options and time, else as `existing`;
   * by default only `scheduled`, `available` and `retryable` jobs hold the key then.
   */
  readonly onConflict?: 'existing' | 'error' | 'replace' | undefined
}

/** See {@link UniqueSettings.debounce} and {@link UniqueSettings.throttle}. */
export interface Spacing extends UniqueBy {
  /** Above 0. */
  readonly seconds: number
}

/** At most one of these. */
export interface UniqueSettings {
  /** No second such job while one holds the key: pending, running, or completed and still kept. `true`: the defaults. */
  readonly unique?: boolean | UniqueOptions | undefined
  /** Runs `seconds` after the last call: each call replaces the arguments and the time of a job that has not begun. */
  readonly debounce?: Spacing | undefined
  /** At most one such job in `seconds`: later calls are answered with its id, whatever has become of it. */
  readonly throttle?: Spacing | undefined
}

/** The parameters; `null` leaves one out. */
export interface UniqueRow {
  readonly unique_key: string | null
  readonly unique_states: readonly string[] | null
  readonly unique_for_seconds: number | null
  readonly on_conflict: string | null
}

/** What a key is made of, for one job. */
export interface Identified {
  readonly kind: Kind
  readonly args: unknown
  readonly queue: string | null
}

const NONE: UniqueRow = { unique_key: null, unique_states: null, unique_for_seconds: null, on_conflict: null }

/**
 * @param nowMs - milliseconds since 1970, for `periodSeconds`
 * @throws {MillraceError} `invalid_unique`
 */
export function uniqueRow(settings: UniqueSettings, job: Identified, nowMs: number): UniqueRow {
  const { unique, debounce, throttle } = settings
  if ([unique || undefined, debounce, throttle].filter(given => given !== undefined).length > 1) {
    throw new MillraceError('invalid_unique', 'unique, debounce and throttle exclude one another')
  }
  if (debounce) return { ...NONE, unique_key: keyOf(debounce, job), on_conflict: 'replace' }
  if (throttle) return { ...NONE, unique_key: keyOf(throttle, job), unique_for_seconds: positive(throttle.seconds) }
  if (!unique) return NONE
  const options = unique === true ? {} : unique
  return {
    ...NONE,
    unique_key: keyOf(options, job, bucket(options.periodSeconds, nowMs)),
    unique_states: options.states ?? null,
    on_conflict: options.onConflict ?? null,
  }
}

/** The delay that `debounce` asks for; any other one, the caller's own, comes first. */
export const debounceSeconds = ({ debounce }: UniqueSettings): number | undefined =>
  debounce && positive(debounce.seconds)

function keyOf({ key, byArgs = true, byQueue = false }: UniqueBy, job: Identified, period?: number): string {
  if (key !== undefined) return storable(key)
  return uniqueKey({
    kind: job.kind,
    queue: byQueue ? (job.queue ?? 'default') : undefined,
    args: byArgs ? job.args : undefined,
    period,
  })
}

function storable(key: string): string {
  jsonText(key, 'invalid_unique', 'Unique key')
  return key
}

const bucket = (seconds: number | undefined, nowMs: number): number | undefined =>
  seconds === undefined ? undefined : Math.floor(nowMs / 1000 / positive(seconds))

function positive(seconds: number): number {
  if (seconds > 0 && Number.isFinite(seconds)) return seconds
  throw new MillraceError('invalid_unique', `${seconds} is not a number of seconds above 0`)
}
