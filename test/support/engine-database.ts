// The engine's verbs on a database of the file's own, emptied before every test.

import { toSql } from 'millrace'
import postgres from 'postgres'
import { beforeEach, onTestFinished } from 'vitest'
import type { AttemptRef, Closed, Outcome } from '../../core/engine.ts'
import type { ClaimedJob, JobView } from '../../core/engine-rows.ts'
import { SqlEngine } from '../../core/sql-engine.ts'
import { useDatabase } from './database.ts'

const TABLES = [
  ...['job_log', 'claim_log', 'outcome_log', 'park_log', 'deferred', 'attempt_state', 'lane', 'runtime', 'sweep'],
  ...['limit_log', 'withdrawn', 'carried', 'archive', 'leader', 'queue', 'lane_head', 'rate_bucket', 'unique_lock'],
  ...['dead_letter', 'schedule', 'batch', 'manifest', 'kind', 'endpoint', 'delivery', 'wait', 'kept_event'],
  ...['follow_up', 'follow_up_problem', 'api_key', 'audit_log'],
]

const EMPTY = `${TABLES.map(table => `delete from millrace.${table}`).join(';')};delete from millrace.segment;insert into millrace.segment (number) values (0)`

/** Anything that runs postgres.js queries: the pool, one connection, or a transaction. */
export type Client = postgres.ISql

export interface EngineDatabase {
  readonly url: string
  readonly sql: postgres.Sql
  readonly engine: SqlEngine
  /** What happens before every test. */
  empty(): Promise<void>
  /** A session of its own, closed when the test is over. */
  connect(): Promise<postgres.Sql>
  /** Several of them. */
  connections(count: number): Promise<postgres.Sql[]>
}

/** Like {@link useDatabase}; every test starts with nothing enqueued, claimed or declared. */
export function useEngine(): EngineDatabase {
  const database = useDatabase()
  const empty = async () => {
    await database.sql.unsafe(EMPTY)
  }
  beforeEach(empty)
  return {
    get url() {
      return database.url
    },
    get sql() {
      return database.sql
    },
    get engine() {
      return new SqlEngine(toSql(database.sql))
    },
    empty,
    connect: async () => only(await sessions(database.url, 1)),
    connections: count => sessions(database.url, count),
  }
}

/** One client each: with a single connection postgres.js lets a transaction be begun and ended by hand. */
async function sessions(url: string, count: number): Promise<postgres.Sql[]> {
  const clients = Array.from({ length: count }, () =>
    postgres(url, { max: 1, fetch_types: false, onnotice: () => undefined }),
  )
  onTestFinished(async () => {
    await Promise.all(clients.map(client => client.end({ timeout: 1 })))
  })
  return clients
}

export interface EnqueueOptions {
  readonly queue?: string
  readonly priority?: number
  readonly max_attempts?: number
  readonly run_at?: string
  readonly delay_seconds?: number
  readonly metadata?: object
  readonly unique_key?: string
  readonly rate_key?: string
}

/** Enqueues jobs that differ in nothing; answers their ids in order. */
export async function enqueue(
  sql: Client,
  count = 1,
  options: EnqueueOptions = {},
  kind = 'resize',
): Promise<string[]> {
  const jobs = Array.from({ length: count }, (_, n) => ({ kind, args: { n }, ...options }))
  const rows = await sql<{ id: string }[]>`
    select id from millrace.enqueue_many(${JSON.stringify(jobs)}::text::jsonb) as id`
  return rows.map(({ id }) => id)
}

/** Enqueues many jobs without answering their ids. */
export async function enqueueBulk(sql: Client, count: number): Promise<void> {
  await sql`
    select count(*) from (
      select jsonb_agg('{"kind": "resize"}'::jsonb) as jobs from generate_series(1, ${count}) n group by n / 1000
    ) batches cross join lateral millrace.enqueue_many(jobs)`
}

/** Claims on a connection of the caller's choice, so that it can be part of a transaction. */
export async function claim(sql: Client, runtime: string, max: number): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`select id from millrace.claim(${runtime}, ${max})`
  return rows.map(({ id }) => id)
}

export const ref = ({ segment, id, attempt }: AttemptRef): AttemptRef => ({ segment, id, attempt })

/** Enqueues and claims one job. */
export async function running(database: EngineDatabase, options?: EnqueueOptions, kind?: string): Promise<ClaimedJob> {
  await enqueue(database.sql, 1, options, kind)
  return only(await claimAll(database))
}

/** Claims whatever there is, with a runtime of its own. */
export async function claimAll({ engine }: EngineDatabase, max = 1000): Promise<ClaimedJob[]> {
  return engine.claim(await engine.runtimeStart('test'), max)
}

/** Closes one attempt. */
export async function close({ engine }: EngineDatabase, of: AttemptRef, outcome: Outcome): Promise<Closed> {
  return only(await engine.close([{ ...ref(of), outcome }]))
}

export const completed: Outcome = { kind: 'completed' }
export const released: Outcome = { kind: 'released' }
export const failed = (message = 'broken', delayMs?: number): Outcome => ({
  kind: 'failed',
  error: { message, code: 'reported' },
  retryable: true,
  delayMs,
})
export const fatal: Outcome = { ...failed('no such order'), retryable: false } as Outcome
export const putBack = (delayMs = 0, message = 'busy'): Outcome => ({
  kind: 'put_back',
  error: { message, code: 'http_429' },
  delayMs,
})

/** The job as users see it; it must be there. */
export async function view({ engine }: EngineDatabase, id: string): Promise<JobView> {
  const job = await engine.job(id)
  if (job === undefined) throw new Error(`No job ${id}`)
  return job
}

/** Makes all deferred jobs due, moves them into the log and claims what is there. */
export async function claimAgain(database: EngineDatabase): Promise<ClaimedJob[]> {
  await database.sql`update millrace.deferred set run_at = now()`
  await database.engine.promote(1000)
  return claimAll(database)
}

/** The one element of an array of one. */
export function only<T>(items: readonly T[]): T {
  if (items.length !== 1) throw new Error(`Expected one, got ${items.length}`)
  return items[0] as T
}

/** Seconds until the one deferred job is due, from when its attempt failed. */
export async function delay({ sql }: EngineDatabase): Promise<number> {
  const rows = await sql<{ seconds: number }[]>`
    select extract(epoch from run_at - (select max(finished_at) from millrace.outcome_log))::float8 as seconds
    from millrace.deferred`
  return only(rows).seconds
}
