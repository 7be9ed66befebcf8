// The engine alone: producers enqueue batches of 100, consumers claim and close up to 500 as the dispatcher does, each job individually.

import postgres from 'postgres'
import { SqlEngine } from '../core/sql-engine.ts'
import { postgresSql } from '../functions/node/postgres-sql.ts'
import { measured, withFreshSchema } from './database.ts'

const LANES = 4
const BATCH = 100
/** The dispatcher's own default. */
const CLAIM = 500
const PRODUCERS = 2
const CONSUMERS = 3
const MAX_BACKLOG = 20_000

export interface EngineOptions {
  readonly seconds: number
  readonly pinned: boolean
  readonly progress: (line: string) => void
}

export async function benchEngine(serverUrl: string, { seconds, pinned, progress }: EngineOptions) {
  progress(`engine: ${seconds} s`)
  const plain = await withFreshSchema(serverUrl, url => phase(url, seconds))
  if (!pinned) return { bench: 'engine', pinned, ...plain }
  progress(`engine with an old snapshot held open: ${seconds} s`)
  const held = await withFreshSchema(serverUrl, url => withOldSnapshot(url, () => phase(url, seconds)))
  return {
    bench: 'engine',
    pinned,
    ...held,
    lost: held.lost + plain.lost,
    doubled: held.doubled + plain.doubled,
    unpinnedJobsPerSecond: plain.jobsPerSecond,
    pinnedRatio: Number((held.jobsPerSecond / plain.jobsPerSecond).toFixed(3)),
  }
}

async function phase(url: string, seconds: number) {
  const { enqueued, closed, doubled, statements, elapsed, walBytes, deadTuples } = await measured(url, () =>
    traffic(url, seconds),
  )
  return {
    jobs: closed,
    jobsPerSecond: Math.round(closed / elapsed),
    walBytesPerJob: Math.round(walBytes / closed),
    deadTuplesPerJob: Number((deadTuples / closed).toFixed(4)),
    statementsPerJob: Number((statements / closed).toFixed(4)),
    lost: enqueued - closed,
    doubled,
  }
}

/** What {@link traffic} counts, while it runs. */
export interface Counts {
  enqueued: number
  closed: number
  doubled: number
  statements: number
}

export const noCounts = (): Counts => ({ enqueued: 0, closed: 0, doubled: 0, statements: 0 })

/** Producers for so many seconds, and consumers until everything is closed. */
export async function traffic(url: string, seconds: number, count = noCounts()) {
  const sql = postgresSql(url, { max: PRODUCERS + CONSUMERS, applicationName: 'millrace bench' })
  const engine = new SqlEngine(sql)
  await sql.query('select millrace.sync_manifest($1::text::jsonb)', [MANIFEST])
  const seen = new Set<string>()
  let stop = false

  const produce = async (first: number) => {
    for (let lane = first; !stop; lane++) {
      if (count.enqueued - count.closed > MAX_BACKLOG) {
        await pause(2)
        continue
      }
      count.enqueued += BATCH
      await sql.query('select millrace.enqueue_many($1::text::jsonb)', [batchFor(lane % LANES)])
      count.statements++
    }
  }
  const consume = async () => {
    const runtime = await engine.runtimeStart('bench')
    while (!stop || count.closed < count.enqueued) {
      const jobs = await engine.claim(runtime, CLAIM)
      count.statements++
      if (jobs.length === 0) {
        await pause(1)
        continue
      }
      for (const { id } of jobs) {
        if (seen.has(id)) count.doubled++
        seen.add(id)
      }
      const closed = await engine.close(
        jobs.map(({ segment, id, attempt }) => ({ segment, id, attempt, outcome: { kind: 'completed' } })),
      )
      count.statements++
      for (const { fresh } of closed) fresh ? count.closed++ : count.doubled++
    }
  }

  const began = performance.now()
  setTimeout(() => {
    stop = true
  }, seconds * 1000)
  await Promise.all([
    ...Array.from({ length: PRODUCERS }, (_, i) => produce(i)),
    ...Array.from({ length: CONSUMERS }, () => consume()),
  ])
  const elapsed = (performance.now() - began) / 1000
  await sql.end()
  return { ...count, elapsed }
}

/** Each kind has a queue of its own, so that there are several lanes. */
const MANIFEST = JSON.stringify({
  kinds: Array.from({ length: LANES }, (_, lane) => ({ name: `email_${lane}`, queue: `queue_${lane}` })),
  subscriptions: [],
})

const batchFor = (lane: number): string =>
  JSON.stringify(
    Array.from({ length: BATCH }, () => ({
      kind: `email_${lane}`,
      args: { to: 'alice@example.com', subject: 'Welcome aboard', n: Math.random() },
    })),
  )

/** A transaction that has taken its snapshot and does not end before `work` does: nothing dead can be cleaned up. */
export async function withOldSnapshot<T>(url: string, work: () => Promise<T>): Promise<T> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined })
  try {
    const old = await sql.reserve()
    await old`begin isolation level repeatable read`
    await old`select count(*) from pg_class`
    return await work()
  } finally {
    await sql.end({ timeout: 1 })
  }
}

const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))
