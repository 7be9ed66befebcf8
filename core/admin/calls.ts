// Calls of the engine's SQL functions over the Sql port, for the parts of the admin module.

import { translatingErrors } from '../database-errors.ts'
import { type Database, toSql } from '../drivers.ts'
import { exactJson } from '../exact-json.ts'
import { quoteIdentifier, type Sql, type SqlValue } from '../sql.ts'

/** One page of a list. */
export interface Page<Item> {
  readonly items: readonly Item[]
  /** Hand it back for the next page, which may be there even if this one is short or empty; null: this was the last. */
  readonly cursor: string | null
}

export interface PageOptions {
  /** 100 unless given, at most 1000. */
  readonly limit?: number | undefined
  /** What the page before answered. */
  readonly cursor?: string | null | undefined
}

/** The SQL functions of one schema of one database. Errors of the database are `MillraceError`s where they have a code. */
export class Calls {
  readonly #sql: Sql
  readonly #schema: string
  readonly #exact: boolean

  /** Who asks, for the audit log; null: the database says who is connected. */
  readonly by: string | null

  constructor(database: Database, schema = 'millrace', by: string | null = null, exact = false) {
    this.by = by
    this.#exact = exact
    this.#sql = toSql(database)
    this.#schema = quoteIdentifier(schema)
  }

  /** What a function answers; undefined for null. Parameters are text, cast in the call. */
  async value<T>(call: string, params: readonly SqlValue[] = []): Promise<T | undefined> {
    const [row] = await this.#query<{ value: T | null }>(`select ${this.#schema}.${call} as value`, params)
    return row?.value ?? undefined
  }

  /** The same of what has payloads in it, whose numbers are exact where that was asked for. */
  async json<T>(call: string, params: readonly SqlValue[]): Promise<T | undefined> {
    if (!this.#exact) return this.value<T>(call, params)
    const [row] = await this.#query<{ value: string | null }>(`select ${this.#schema}.${call}::text as value`, params)
    return (exactJson(row?.value ?? 'null') as T | null) ?? undefined
  }

  /** The rows that a function answers, as objects. */
  async rows<T>(call: string, params: readonly SqlValue[] = []): Promise<T[]> {
    const rows = await this.#query<{ value: T }>(`select to_jsonb(r) as value from ${this.#schema}.${call} r`, params)
    return rows.map(({ value }) => value)
  }

  #query<Row>(text: string, params: readonly SqlValue[]): Promise<Row[]> {
    return translatingErrors(() => this.#sql.query<Row>(text, params))
  }
}
