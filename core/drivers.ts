// From whatever the caller queries with (postgres.js, pg, Neon over WebSocket or HTTP) to the Sql port, by its shape.
//
// No driver is imported: the caller's own connection or transaction comes in, and what we send through it is part of
// that transaction. Statements stay unnamed, so transaction-mode poolers are safe, unless `prepare` asks otherwise.

import { MillraceError } from './errors.ts'
import type { Sql, SqlValue } from './sql.ts'

/** A postgres.js `sql`, the `tx` of `sql.begin` or `savepoint`, or a reserved connection. */
export interface PostgresJsLike {
  unsafe(text: string, params?: never[], options?: { prepare?: boolean }): PromiseLike<unknown>
}

/**
 * Anything with `query(text, params)` that answers rows or `{ rows }`: `Client`, `PoolClient` and `Pool` of pg and of
 * Neon's driver, Neon's HTTP function, our own {@link Sql}.
 */
export interface QueryLike {
  query(text: string, params?: never[]): PromiseLike<unknown>
}

/** What `enqueue` takes as the transaction (or pool) to enqueue in. */
export type Database = PostgresJsLike | QueryLike | Sql

export interface DriverOptions {
  /**
   * Use named prepared statements where the driver has them (postgres.js, pg). Only for connections that are not
   * behind a transaction-mode pooler. Saves postgres.js, which otherwise asks for the parameters' types first, one
   * round trip per statement.
   */
  readonly prepare?: boolean
}

type Query = (text: string, params: readonly SqlValue[]) => PromiseLike<unknown>

/**
 * Adapts a driver's connection, pool or transaction.
 *
 * @throws {MillraceError} `unsupported_driver` when it looks like none that we know
 */
export function toSql(database: Database, options: DriverOptions = {}): Sql {
  const query = adapter(database, options.prepare ?? false)
  if (query === undefined) {
    throw new MillraceError('unsupported_driver', 'This is not a connection, pool or transaction that Millrace knows', {
      hint: 'Pass one of postgres.js, pg or @neondatabase/serverless, or run the statement of enqueueStatement() yourself',
    })
  }
  return {
    async query<Row>(text: string, params: readonly SqlValue[] = []) {
      return rowsOf(await query(text, params.map(asText))) as Row[]
    },
  }
}

/** Neon's HTTP function has an `unsafe` too (for SQL fragments), so `query` is looked for first. */
function adapter(database: unknown, prepare: boolean): Query | undefined {
  if (has(database, 'query')) {
    if (typeof database === 'function') return overNeonHttp(database)
    return prepare && has(database, 'connect') ? overPgPrepared(database) : overQuery(database)
  }
  return has(database, 'unsafe') ? overPostgresJs(database, prepare) : undefined
}

const overQuery =
  (client: Method<'query'>): Query =>
  (text, params) =>
    client.query(text, params)

/** Options of the caller's `neon()` may ask for other shapes of answer; ours is fixed. */
const overNeonHttp =
  (sql: Method<'query'>): Query =>
  (text, params) =>
    sql.query(text, params, { arrayMode: false, fullResults: false })

const overPgPrepared =
  (client: Method<'query'>): Query =>
  (text, params) =>
    client.query({ name: statementName(text), text, values: params })

const overPostgresJs =
  (sql: Method<'unsafe'>, prepare: boolean): Query =>
  (text, params) =>
    sql.unsafe(text, params, { prepare, simple: false })

const statementNames = new Map<string, string>()

/** pg wants one name per text on a connection; the process has few texts. */
function statementName(text: string): string {
  const name = statementNames.get(text) ?? `millrace_${statementNames.size + 1}`
  statementNames.set(text, name)
  return name
}

type Method<Name extends string> = Record<Name, (...args: unknown[]) => PromiseLike<unknown>>

function has<Name extends string>(value: unknown, name: Name): value is Method<Name> {
  const object = (typeof value === 'object' && value !== null) || typeof value === 'function'
  return object && typeof (value as Record<string, unknown>)[name] === 'function'
}

const asText = (value: SqlValue): string | null => (value === null ? null : String(value))

const rowsOf = (result: unknown): unknown[] =>
  Array.isArray(result) ? Array.from(result) : (result as { rows: unknown[] }).rows
