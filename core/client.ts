// The typed client: enqueue and cancel jobs inside the caller's own transaction.

import type { PayloadCodec } from './codec.ts'
import { translatingErrors } from './database-errors.ts'
import { type Database, toSql } from './drivers.ts'
import { type EnqueueOptions, type Job, job, toRow } from './enqueue.ts'
import { type Statement, statementForMany, statementForOne, statementForUnique } from './enqueue-statement.ts'
import { idsLiteral } from './job-id.ts'
import type { ArgsOf, Kind } from './kind.ts'
import { quoteIdentifier, type Sql, type SqlValue } from './sql.ts'
import { tenantKey } from './tenant.ts'
import { type UniqueKeyParts, uniqueKey } from './unique-key.ts'
import type { JobState } from './wire.ts'

export interface ClientOptions {
  /** The schema that `millrace migrate` was told to use: `millrace`. */
  readonly schema?: string | undefined
  /** Encodes arguments, once they are checked. Functions need the same one. */
  readonly codec?: PayloadCodec | undefined
}

/** What {@link Client.enqueueUnique} answers. */
export interface Enqueued {
  readonly id: string
  /** The job was there before. */
  readonly existing: boolean
  /** It was there and has not begun, so it got these arguments, options and time. */
  readonly replaced: boolean
}

export interface CancelOptions {
  /** Kept as the message of the job's last error. */
  readonly reason?: string | undefined
}

export interface CancelByKeyOptions extends CancelOptions {
  /** Of a job that was enqueued with this `tenant`. */
  readonly tenant?: string | undefined
}

/** What {@link Client.cancel} answers for a job. */
export interface Cancelled {
  readonly id: string
  /** From now on. */
  readonly state: JobState
  /** This call has cancelled it; false when it had ended already. */
  readonly cancelled: boolean
}

export interface Client {
  /**
   * Enqueues a job in the caller's transaction: commit makes it visible, rollback makes it vanish. Given a pool
   * instead of a transaction, it is enqueued at once. Answers the job's id.
   *
   * @throws {MillraceError} `invalid_args` and the other limits (`invalid_queue`, `payload_too_large` ...),
   *   `unique_conflict`, `schema_missing`, `unsupported_driver`; errors of the connection come through as the driver's own
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
   * As {@link Client.enqueue}, for a job with `unique`, `debounce` or `throttle`: tells, besides the id, whether the job
   * was there already. So a request that is repeated is told the same job.
   *
   * @example
   * const { id, existing } = await enqueueUnique(tx, importFeed, { feed }, { unique: true })
   */
  enqueueUnique<K extends Kind>(tx: Database, kind: K, args: ArgsOf<K>, options?: EnqueueOptions): Promise<Enqueued>

  /**
   * Cancels jobs that have not ended, in the caller's transaction. Those that run are told at their next heartbeat, and
   * their results are refused. Answers for each job that there is; unknown ones are left out.
   *
   * @throws {MillraceError} `invalid_request` for an id that is none, `schema_missing`, `unsupported_driver`
   */
  cancel(tx: Database, ids: string | readonly string[], options?: CancelOptions): Promise<Cancelled[]>

  /**
   * Cancels the job that took a unique key last, given the key or what it is made of. Answers undefined when no job is
   * known to have it.
   *
   * @example
   * await cancelByKey(tx, { kind: importFeed, args: { feed } })
   */
  cancelByKey(tx: Database, key: string | UniqueKeyParts, options?: CancelByKeyOptions): Promise<Cancelled | undefined>

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

/**
 * A client for an installation in another schema than `millrace`, or with a codec. Its methods may throw `codec_failed` too.
 */
export function createClient({ schema = 'millrace', codec }: ClientOptions = {}): Client {
  const cancelled = (tx: Database, call: string, values: SqlValue[]) =>
    rows<Cancelled>(
      toSql(tx),
      `select id::text as id, state, cancelled from ${quoteIdentifier(schema)}.${call}`,
      values,
    )
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
    async enqueueUnique(tx, kind, args, options) {
      const sql = toSql(tx)
      const { text, values } = statementForUnique(schema, [await toRow(job(kind, args, options), codec)])
      const [enqueued] = await rows<Enqueued>(sql, text, values)
      return enqueued as Enqueued
    },
    cancel: async (tx, ids, { reason = null } = {}) =>
      cancelled(tx, 'cancel($1::text::bigint[], $2::text)', [idsLiteral([ids].flat()), reason]),
    cancelByKey: async (tx, key, { reason = null, tenant } = {}) => {
      const text = typeof key === 'string' ? key : uniqueKey(key)
      const own = tenant === undefined ? text : tenantKey(tenant, text)
      const [job] = await cancelled(tx, 'cancel_by_key($1::text, $2::text)', [own, reason])
      return job
    },
    enqueueStatement: async (kind, args, options) =>
      statementForOne(schema, await toRow(job(kind, args, options), codec)),
    enqueueManyStatement: async jobs => statementForMany(schema, await Promise.all(jobs.map(job => toRow(job, codec)))),
  }
  return client
}

const client = createClient()

/** {@link Client.enqueue} in the schema `millrace`. */
export const enqueue: Client['enqueue'] = client.enqueue
/** {@link Client.enqueueMany} in the schema `millrace`. */
export const enqueueMany: Client['enqueueMany'] = client.enqueueMany
/** {@link Client.enqueueUnique} in the schema `millrace`. */
export const enqueueUnique: Client['enqueueUnique'] = client.enqueueUnique
/** {@link Client.cancel} in the schema `millrace`. */
export const cancel: Client['cancel'] = client.cancel
/** {@link Client.cancelByKey} in the schema `millrace`. */
export const cancelByKey: Client['cancelByKey'] = client.cancelByKey
/** {@link Client.enqueueStatement} in the schema `millrace`. */
export const enqueueStatement: Client['enqueueStatement'] = client.enqueueStatement
/** {@link Client.enqueueManyStatement} in the schema `millrace`. */
export const enqueueManyStatement: Client['enqueueManyStatement'] = client.enqueueManyStatement

async function ids(sql: Sql, { text, values }: Statement): Promise<string[]> {
  return (await rows<{ id: string }>(sql, text, values)).map(row => row.id)
}

const rows = <Row>(sql: Sql, text: string, values: readonly SqlValue[]): Promise<Row[]> =>
  translatingErrors(() => sql.query<Row>(text, values))
