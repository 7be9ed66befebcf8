// The server a bench runs on, a fresh database for every phase, and what the server itself counts.

import postgres from 'postgres'
import { startPostgres } from '../functions/node/embedded-postgres.ts'
import { startTestPostgres } from '../functions/node/testing.ts'

/** An embedded server with durability on and otherwise default settings, unless a server is given. */
export async function withBenchDatabase<T>(url: string | undefined, work: (url: string) => Promise<T>): Promise<T> {
  if (url !== undefined) return work(url)
  const server = await startPostgres({ persistent: false, settings: { fsync: 'on', full_page_writes: 'on' } })
  try {
    return await work(server.url)
  } finally {
    await server.stop()
  }
}

/** A database of its own for a phase, dropped after it. */
export async function withFreshSchema<T>(serverUrl: string, work: (url: string) => Promise<T>): Promise<T> {
  const server = await startTestPostgres({ url: serverUrl })
  const database = await server.createDatabase()
  try {
    return await work(database.url)
  } finally {
    await database.drop()
    await server.stop()
  }
}

export interface ServerFigures {
  readonly walBytes: number
  readonly deadTuples: number
}

/**
 * What `work` cost the server: WAL bytes, and dead tuples in the engine's tables. `work` must end its sessions, since
 * sessions report their counts when they end.
 */
export async function measured<T>(url: string, work: () => Promise<T>): Promise<T & ServerFigures> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined })
  try {
    const [{ lsn }] = (await sql`select pg_current_wal_lsn() as lsn`) as unknown as [{ lsn: string }]
    const done = await work()
    const [wal] = await sql<{ bytes: string }[]>`select pg_wal_lsn_diff(pg_current_wal_lsn(), ${lsn}) as bytes`
    await sql`select pg_sleep(0.2)`
    const [dead] = await sql<{ tuples: string }[]>`
      select coalesce(sum(n_dead_tup), 0) as tuples from pg_stat_user_tables where schemaname = 'millrace'`
    return { ...done, walBytes: Number(wal?.bytes), deadTuples: Number(dead?.tuples) }
  } finally {
    await sql.end()
  }
}
