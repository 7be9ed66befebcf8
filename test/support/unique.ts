// Enqueueing jobs with unique keys by plain SQL, and waiting until a session waits.

import type postgres from 'postgres'
import { expect, vi } from 'vitest'
import { type Client, type EngineDatabase, only } from './engine-database.ts'

/** The parameters of millrace.enqueue_jobs that matter here. */
export interface Keyed {
  readonly kind?: string
  readonly args?: unknown
  readonly queue?: string
  readonly priority?: number
  readonly max_attempts?: number
  readonly delay_seconds?: number
  readonly unique_key?: string
  readonly unique_states?: readonly string[]
  readonly unique_for_seconds?: number
  readonly on_conflict?: string
  readonly ordering_key?: string
  readonly rate_key?: string
}

export interface Told {
  readonly id: string
  readonly existing: boolean
  readonly replaced: boolean
}

/** One call of millrace.enqueue_jobs. */
export const enqueueJobs = async (sql: Client, ...jobs: Keyed[]): Promise<Told[]> => [
  ...(await sql<Told[]>`
    select id, existing, replaced
    from millrace.enqueue_jobs(${JSON.stringify(jobs.map(job => ({ kind: 'sync', ...job })))}::text::jsonb)`),
]

/** Enqueues one job with the key `k`; answers its id. */
export const enqueueKeyed = async (sql: Client, job: Keyed = {}): Promise<string> =>
  only(await enqueueJobs(sql, { unique_key: 'k', ...job })).id

export const pidOf = async (client: postgres.Sql): Promise<number> =>
  only(await client<{ pid: number }[]>`select pg_backend_pid() as pid`).pid

/** Resolves once that session waits for a lock. */
export const waiting = (database: EngineDatabase, pid: number): Promise<void> =>
  vi.waitFor(async () => {
    const rows = await database.sql`select from pg_stat_activity where pid = ${pid} and wait_event_type = 'Lock'`
    expect(rows).toHaveLength(1)
  }, 5_000)
