// The demo's Postgres, with Millrace's schema and the shop's tables in it.

import { readFile } from 'node:fs/promises'
import { migrateDatabase, startPostgres } from 'millrace/node'
import postgres from 'postgres'

export interface Database {
  readonly url: string
  readonly sql: postgres.Sql
  close(): Promise<void>
}

/** The server is thrown away in the end, but until then it works as one that is not. */
const DURABLE = { fsync: 'on', full_page_writes: 'on' }

export async function startDatabase(): Promise<Database> {
  const server = await startPostgres({ persistent: false, settings: DURABLE })
  const sql = postgres(server.url, { max: 2, fetch_types: false, onnotice: () => undefined })
  const close = async () => {
    await sql.end({ timeout: 5 })
    await server.stop()
  }
  return { url: server.url, sql, close }
}

export async function createTables({ url, sql }: Database): Promise<void> {
  await migrateDatabase(url)
  await sql.unsafe(await readFile(new URL('../shop.sql', import.meta.url), 'utf8'))
}
