// Segments turned over every second or two, under traffic and an old snapshot: does disk stay bounded, throughput flat?

import { setTimeout as pause } from 'node:timers/promises'
import postgres from 'postgres'
import { measured, withFreshSchema } from './database.ts'
import { type Counts, noCounts, traffic, withOldSnapshot } from './engine.ts'

export interface RotationOptions {
  readonly seconds: number
  readonly progress: (line: string) => void
}

interface Sample {
  readonly closed: number
  readonly bytes: number
}

export function benchRotation(serverUrl: string, { seconds, progress }: RotationOptions) {
  progress(`rotation under an old snapshot: ${seconds} s`)
  return withFreshSchema(serverUrl, url => withOldSnapshot(url, () => phase(url, seconds)))
}

async function phase(url: string, seconds: number) {
  const count = noCounts()
  const janitor = new Janitor(url)
  await janitor.hurry()
  const done = await measured(url, async () => {
    const samples: Sample[] = []
    let over = false
    const sampling = janitor.sample(count, samples, () => over)
    const turning = janitor.turnOver(() => over)
    const result = await traffic(url, seconds, count)
    over = true
    await Promise.all([sampling, turning])
    return { ...result, samples }
  })
  const figures = await janitor.figures()
  await janitor.end()
  const perSecond = done.samples.slice(1, seconds).map(({ closed }, n) => closed - (done.samples[n] as Sample).closed)
  const half = Math.floor(perSecond.length / 2)
  return {
    bench: 'rotation',
    jobs: done.closed,
    jobsPerSecond: Math.round(done.closed / done.elapsed),
    /** The second half's throughput over the first half's. */
    flatRatio: Number((mean(perSecond.slice(half)) / mean(perSecond.slice(0, half))).toFixed(3)),
    mebibytesAtMost: mebibytes(Math.max(...done.samples.map(({ bytes }) => bytes))),
    mebibytesWritten: mebibytes(done.walBytes),
    ...figures,
    lost: done.enqueued - done.closed,
    doubled: done.doubled,
  }
}

const mean = (numbers: readonly number[]): number => numbers.reduce((sum, n) => sum + n, 0) / numbers.length
const mebibytes = (bytes: number): number => Math.round(bytes / 2 ** 20)

/** What the leader does, in a hurry. */
class Janitor {
  readonly #sql: postgres.Sql
  #pruned = 0
  #blocked = 0
  #carried = 0

  constructor(url: string) {
    this.#sql = postgres(url, { max: 2, onnotice: () => undefined })
  }

  async hurry(): Promise<void> {
    await this.#sql`
      update millrace.setting set value = 1
      where name in ('rotate_seconds', 'retention_seconds', 'failed_retention_seconds')`
  }

  async turnOver(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      await this.#sql`select millrace.survey()`
      await this.#sql`select millrace.rotate()`
      try {
        const [row] = await this.#sql<{ pruned: { carried: number } | null }[]>`select millrace.prune() as pruned`
        if (row?.pruned) this.#pruned++
        this.#carried += row?.pruned?.carried ?? 0
      } catch (error) {
        if ((error as { code?: string }).code !== '55P03') throw error
        this.#blocked++
      }
      await pause(200)
    }
  }

  async sample(count: Counts, samples: Sample[], isOver: () => boolean): Promise<void> {
    for (let next = performance.now(); !isOver(); next += 1_000) {
      const [row] = await this.#sql<
        { bytes: string }[]
      >`select sum(millrace.slot_bytes(s)) as bytes from generate_series(0, 7) s`
      samples.push({ closed: count.closed, bytes: Number(row?.bytes) })
      await pause(Math.max(0, next + 1_000 - performance.now()))
    }
  }

  async figures() {
    const [row] = await this.#sql<{ segments: number; dead: number }[]>`
      select (select max(number) from millrace.segment)::int as segments,
        (select coalesce(sum(n_dead_tup), 0) from pg_stat_user_tables
         where schemaname = 'millrace' and relname ~ '^(job|claim|outcome|park|limit)_log_')::int as dead`
    return {
      segmentsOpened: row?.segments ?? 0,
      segmentsPruned: this.#pruned,
      prunesPutOff: this.#blocked,
      attemptsCarried: this.#carried,
      deadTuplesInLogs: row?.dead ?? 0,
    }
  }

  end(): Promise<void> {
    return this.#sql.end()
  }
}
