// The typed client: enqueue jobs inside the caller's own transaction.

import { translatingErrors } from './database-errors.ts'
import { type Database, toSql } from './drivers.ts'
import { type EnqueueOptions, type Job, job, toRow } from './enqueue.ts'
import { type Statement, statementForMany, statementForOne } from './enqueue-statement.ts'
import type { ArgsOf, Kind } from './kind.ts'
import type { Sql } from './sql.ts'

export interface ClientOptions {
  /** The schema that `millrace migrate` was told to use: `millrace`. */
  readonly schema?: string | undefined
}

export interface Client {
  /**
   * Enqueues a job in the caller's transaction: commit makes it visible, rollback makes it vanish. Given a pool
   * instead of a transaction, it is enqueued at once. Answers the job's id.
   *
   * @throws {MillraceError} `invalid_args` and the other limits (`invalid_queue`, `payload_too_large` ...),
   *   `schema_missing`, `unsupported_driver`; errors of the connection come through as the driver's own
   * @example
   * await sql.begin(async tx => {
   *   const [order] = await tx`insert into orders (total) values (42) returning id`
   *   await enqueue(tx, renderReceipt, { orderId: order.id }, { priority: 1 })
   * })
   */
  enqueue<K extends Kind>(tx: Database, kind: K, args: ArgsOf<K>, options?: EnqueueOptions): Promise<string>

  /** Enqueues many jobs, of any kinds, in one statement: all or none. Answers their ids in the same order. */
  enqueueMany(tx: Database, jobs: readonly Job[]): Promise<string[]>

  /**
   * The statement that {@link Client.enqueue} would run, with the arguments checked, for drivers and ORMs that
   * Millrace does not know and for Neon's HTTP batches. It answers one row with the column `id`.
   *
   * @example
   * const { text, values } = await enqueueStatement(renderReceipt, { orderId: 42 })
   * await sql.transaction([sql`insert into orders (id) values (42)`, sql.query(text, values)])
   */
  enqueueStatement<K extends Kind>(kind: K, args: ArgsOf<K>, options?: EnqueueOptions): Promise<Statement>

  /** As {@link Client.enqueueStatement}, for many jobs: one row with the column `id` for each, in order. */
  enqueueManyStatement(jobs: readonly Job[]): Promise<Statement>
}

/** A client for an installation in another schema than `millrace`. */
export function createClient({ schema = 'millrace' }: ClientOptions = {}): Client {
  const client: Client = {
    async enqueue(tx, kind, args, options) {
      const sql = toSql(tx)
      const [id] = await ids(sql, await client.enqueueStatement(kind, args, options))
      return id as string
    },
    async enqueueMany(tx, jobs) {
      const sql = toSql(tx)
      return jobs.length === 0 ? [] : ids(sql, await client.enqueueManyStatement(jobs))
    },
    enqueueStatement: async (kind, args, options) => statementForOne(schema, await toRow(job(kind, args, options))),
    enqueueManyStatement: async jobs => statementForMany(schema, await Promise.all(jobs.map(toRow))),
  }
  return client
}

const client = createClient()

/** {@link Client.enqueue} in the schema `millrace`. */
export const enqueue: Client['enqueue'] = client.enqueue
/** {@link Client.enqueueMany} in the schema `millrace`. */
export const enqueueMany: Client['enqueueMany'] = client.enqueueMany
/** {@link Client.enqueueStatement} in the schema `millrace`. */
export const enqueueStatement: Client['enqueueStatement'] = client.enqueueStatement
/** {@link Client.enqueueManyStatement} in the schema `millrace`. */
export const enqueueManyStatement: Client['enqueueManyStatement'] = client.enqueueManyStatement

async function ids(sql: Sql, { text, values }: Statement): Promise<string[]> {
  const rows = await translatingErrors(() => sql.query<{ id: string }>(text, values))
  return rows.map(row => row.id)
}
