// Declaring a queue: its share, its limits, and how long its finished jobs are kept. A queue needs no declaration to be used.

import { checkInteger, checkName, refuse } from './declaration.ts'

/** A token bucket: so many starts a second in the long run, and so many at once. */
export interface Rate {
  /** Attempts started per second, over all dispatchers. Fractions are fine: `1 / 60` is one a minute. */
  readonly perSecond: number
  /** How many may start at once after a pause; as many as a second's worth, and at least 1, unless given. */
  readonly burst?: number
}

export interface Retention {
  /** Of completed and cancelled jobs, in seconds: a day. */
  readonly finishedSeconds?: number
  /** Of failed jobs without a dead letter, in seconds: three days. */
  readonly failedSeconds?: number
  /** Of dead letters, in seconds: thirty days. */
  readonly deadLetterSeconds?: number
}

/** A declared queue, for {@link defineManifest}. */
export interface Queue {
  /** 1 to 200 characters, unique in the manifest. */
  readonly name: string
  /** Its share of a dispatcher's capacity among queues of one priority: 1; 0.001 to 1000. */
  readonly weight?: number
  /** Lanes per priority: 1, which is strictly first in, first out; at most 64. */
  readonly shards?: number
  /** Attempts open at once, over all dispatchers; no limit unless given. */
  readonly maxRunning?: number
  readonly rate?: Rate
  /** The same for each rate key of its jobs. */
  readonly keyRate?: Rate
  /** Keeps failed jobs as dead letters: true. */
  readonly deadLetters?: boolean
  readonly retention?: Retention
}

/**
 * Declares a queue.
 *
 * @throws {MillraceError} `invalid_declaration`
 * @example
 * export const mails = defineQueue({ name: 'mails', maxRunning: 20, rate: { perSecond: 50 } })
 */
export function defineQueue(queue: Queue): Queue {
  checkQueue(queue)
  return Object.freeze({ ...queue })
}

/** @throws {MillraceError} `invalid_declaration` */
export function checkQueue(queue: Queue): void {
  checkName('queue', queue.name)
  const where = `Queue "${queue.name}"`
  checkNumber(where, 'weight', queue.weight, 0.001, 1_000)
  checkInteger(where, 'shards', queue.shards, 1, 64)
  checkInteger(where, 'maxRunning', queue.maxRunning, 1, 1_000_000)
  checkRate(`${where}: rate`, queue.rate)
  checkRate(`${where}: keyRate`, queue.keyRate)
  for (const [name, seconds] of Object.entries(queue.retention ?? {}))
    checkNumber(`${where}: retention`, name, seconds, 0, 10 * YEAR_SECONDS)
}

const YEAR_SECONDS = 365 * 24 * 3600

/** The queue in the database's names. */
export const queueRow = ({ rate, keyRate, retention, ...queue }: Queue): object => ({
  name: queue.name,
  weight: queue.weight,
  shards: queue.shards,
  max_running: queue.maxRunning,
  rate: rate?.perSecond,
  burst: rate?.burst,
  key_rate: keyRate?.perSecond,
  key_burst: keyRate?.burst,
  dead_letters: queue.deadLetters,
  dead_letter_retention_seconds: retention?.deadLetterSeconds,
  retention_seconds: retention?.finishedSeconds,
  failed_retention_seconds: retention?.failedSeconds,
})

function checkRate(where: string, rate: Rate | undefined): void {
  if (rate === undefined) return
  if (rate.perSecond === undefined) refuse(where, 'perSecond is missing')
  checkNumber(where, 'perSecond', rate.perSecond, 0.00001, 1_000_000)
  checkInteger(where, 'burst', rate.burst, 1, 1_000_000)
}

function checkNumber(where: string, name: string, value: number | undefined, low: number, high: number): void {
  if (value === undefined || (value >= low && value <= high)) return
  refuse(where, `${name} is a number from ${low} to ${high}, not ${value}`)
}
