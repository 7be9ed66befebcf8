// Reads what is on record, in Postgres and on disk, of the shop's orders and their jobs.

import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type postgres from 'postgres'

export interface Ledger {
  /** Orders that were inserted, whether or not their transactions were then rolled back. */
  readonly placed: number
  /** Orders that were committed. */
  readonly orders: readonly OrderEntry[]
  readonly jobs: readonly JobEntry[]
  /** Orders with a file that is a PDF. */
  readonly receipts: ReadonlySet<number>
}

export interface OrderEntry {
  readonly id: number
  readonly status: string
  readonly reserved: boolean
  readonly webhooks: number
}

export interface JobEntry {
  readonly id: string
  readonly kind: string
  readonly orderId: number
  readonly state: string
  readonly attempt: number
  readonly errors: readonly { readonly code?: string; readonly message: string }[]
  /** How many of its attempts are on record as completed. */
  readonly completions: number
  /** How many of its attempts failed and were followed by another. */
  readonly retries: number
}

/** Everything in Postgres comes from one snapshot. */
export async function readLedger(sql: postgres.Sql, receiptsFolder: string): Promise<Ledger> {
  const [placed, orders, jobs] = await sql.begin('isolation level repeatable read read only', async tx => [
    await readPlaced(tx),
    await readOrders(tx),
    await readJobs(tx),
  ])
  return { placed, orders, jobs, receipts: await readReceipts(receiptsFolder) }
}

/** A sequence does not roll back, so it has counted the orders that vanished too. */
async function readPlaced(sql: postgres.TransactionSql): Promise<number> {
  const [row] = await sql<{ placed: number }[]>`
    select case when is_called then last_value::int else 0 end as placed from shop.orders_id_seq`
  return row?.placed ?? 0
}

const readOrders = (sql: postgres.TransactionSql): Promise<OrderEntry[]> => sql<OrderEntry[]>`
  select id, status,
    exists (select from shop.reservation r where r.order_id = o.id) as reserved,
    (select count(*)::int from shop.webhook w where w.order_id = o.id) as webhooks
  from shop.orders o order by id`

/** Deliveries of webhooks are jobs too; theirs is the order of the job that they tell of. */
const readJobs = (sql: postgres.TransactionSql): Promise<JobEntry[]> => sql<JobEntry[]>`
  with ids as (
    select id from millrace.job_log union select id from millrace.deferred
  ), jobs as (
    select id, millrace.job(id) as job from ids
  )
  select id, job ->> 'kind' as kind, job ->> 'state' as state, (job ->> 'attempt')::int as attempt, job -> 'errors' as errors,
    coalesce(job #>> '{args,orderId}', job #>> '{args,event,data,args,orderId}')::int as "orderId",
    (select count(*)::int from millrace.outcome_log o where o.id = jobs.id and o.state = 'c') as completions,
    (select count(*)::int from millrace.outcome_log o where o.id = jobs.id and o.state = 'r') as retries
  from jobs order by id`

async function readReceipts(folder: string): Promise<Set<number>> {
  const found = new Set<number>()
  for (const name of await readdir(folder)) {
    const id = /^receipt-(\d+)\.pdf$/.exec(name)?.[1]
    if (id && (await startsAsPdf(join(folder, name)))) found.add(Number(id))
  }
  return found
}

async function startsAsPdf(path: string): Promise<boolean> {
  const file = await open(path)
  try {
    const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0)
    return buffer.toString('latin1') === '%PDF'
  } finally {
    await file.close()
  }
}
