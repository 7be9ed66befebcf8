// For tests: a throw-away server with Millrace's schema in a template, and a database of its own for every test file.

import postgres from 'postgres'
import { type MigrateOptions, migrate } from '../../core/migrate.ts'
import { startPostgres } from './embedded-postgres.ts'
import { packageMigrations, withMigrationDatabase } from './migrations.ts'

export interface TestPostgresOptions extends Pick<MigrateOptions, 'schema'> {
  /** A server to use instead of an embedded one; its user may create databases. */
  readonly url?: string | undefined
  /** Brings more into the template, such as the tables of the application under test. */
  readonly prepare?: ((sql: postgres.Sql) => Promise<void>) | undefined
  /** Settings of the embedded server. */
  readonly settings?: Readonly<Record<string, string>> | undefined
}

export interface TestPostgres {
  /** The server's URL, of a database that is not for tests. */
  readonly url: string
  /** The name of the database that the others are copies of. */
  readonly template: string
  /** A fresh, migrated database. */
  createDatabase(): Promise<TestDatabase>
  stop(): Promise<void>
}

export interface TestDatabase {
  readonly url: string
  readonly name: string
  /** A postgres.js client of this database, closed by `drop`. */
  readonly sql: postgres.Sql
  /** @throws when connections other than `sql`'s are still open; the database is dropped all the same */
  drop(): Promise<void>
}

/**
 * Starts a server for tests. One per test run is enough: databases are cheap.
 *
 * @example
 * const server = await startTestPostgres()
 * const { sql, drop } = await server.createDatabase()
 * await sql`select millrace.enqueue('render_receipt', '{"orderId": 42}')`
 * await drop()
 * await server.stop()
 */
export async function startTestPostgres(options: TestPostgresOptions = {}): Promise<TestPostgres> {
  const { settings } = options
  const server = options.url ? undefined : await startPostgres({ persistent: false, settings })
  const url = options.url ?? (server?.url as string)
  const template = `millrace_template_${unique()}`
  const stop = async () => {
    if (server) await server.stop()
    else await withSession(url, sql => sql.unsafe(`drop database if exists ${template}`))
  }
  try {
    await makeTemplate(url, template, options)
  } catch (error) {
    await stop()
    throw error
  }
  return { url, template, stop, createDatabase: () => cloneDatabase(url, template) }
}

async function makeTemplate(url: string, template: string, options: TestPostgresOptions): Promise<void> {
  await withSession(url, sql => sql.unsafe(`create database ${template}`))
  const templateUrl = databaseUrl(url, template)
  const files = await packageMigrations()
  await withMigrationDatabase(templateUrl, database => migrate(database, files, { schema: options.schema }))
  const { prepare } = options
  if (prepare) await withSession(templateUrl, prepare)
}

/** Test files run in processes and threads that know nothing of each other. */
const unique = (): string => crypto.randomUUID().replaceAll('-', '').slice(0, 16)

/** Copies `template` on the server at `url`; for test processes that did not start the server themselves. */
export async function cloneDatabase(url: string, template: string): Promise<TestDatabase> {
  const name = `millrace_test_${unique()}`
  await withSession(url, sql => sql.unsafe(`create database ${name} template ${template}`))
  const ownUrl = databaseUrl(url, name)
  const sql = postgres(ownUrl, { fetch_types: false, onnotice: () => undefined })
  const drop = async () => {
    await sql.end({ timeout: 5 })
    await withSession(url, admin => dropDatabase(admin, name))
  }
  return { url: ownUrl, name, sql, drop }
}

const databaseUrl = (url: string, name: string): string => Object.assign(new URL(url), { pathname: `/${name}` }).href

async function withSession<T>(url: string, work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => undefined })
  try {
    return await work(sql)
  } finally {
    await sql.end({ timeout: 5 })
  }
}

/** How long a session may take to end after its client has said goodbye. */
const GOODBYE_MS = 2_000

async function dropDatabase(admin: postgres.Sql, name: string): Promise<void> {
  const deadline = Date.now() + GOODBYE_MS
  let open = await openSessions(admin, name)
  while (open.length > 0 && Date.now() < deadline) {
    await admin`select pg_sleep(0.01)`
    open = await openSessions(admin, name)
  }
  await admin.unsafe(`drop database ${name} with (force)`)
  if (open.length > 0) throw new Error(`Connections left open:\n${open.join('\n')}`)
}

async function openSessions(admin: postgres.Sql, name: string): Promise<string[]> {
  const rows = await admin<{ application: string; state: string; query: string }[]>`
    select application_name as application, coalesce(state, '') as state, query from pg_stat_activity
    where datname = ${name} and backend_type = 'client backend'`
  return rows.map(({ application, state, query }) => `${application} (${state}): ${query}`)
}
