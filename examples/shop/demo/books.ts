// Balances the books: whether every order that was committed, and none other, had all its effects exactly once.

import { renderReceipt, reserveStock } from '../kinds.ts'
import type { JobEntry, Ledger, OrderEntry } from './ledger.ts'

export interface Totals {
  readonly orders: number
  readonly rolled_back: number
  readonly enqueued: number
  readonly completed: number
  readonly failed: number
  readonly retried: number
  readonly webhooks: number
  /** Jobs that are missing, not finished, or without effect. */
  readonly lost: number
}

export interface Books {
  readonly totals: Totals
  /** Why the books do not balance; empty when they do. */
  readonly problems: readonly string[]
}

const DELIVERY = 'millrace.webhook'
const ENDED = ['completed', 'failed', 'cancelled']

export function balance(ledger: Ledger, expectedOrders: number): Books {
  const { placed, orders, receipts } = ledger
  const jobs = ledger.jobs.filter(job => job.kind !== DELIVERY)
  const losses = orders.flatMap(order => lossesOf(order, ledger))
  const totals = {
    orders: placed,
    rolled_back: placed - orders.length,
    enqueued: jobs.length,
    completed: jobs.filter(job => job.state === 'completed').length,
    failed: jobs.filter(job => job.state === 'failed' || job.state === 'cancelled').length,
    retried: jobs.reduce((sum, job) => sum + job.retries, 0),
    webhooks: orders.reduce((sum, order) => sum + order.webhooks, 0),
    lost: losses.length,
  }
  const known = new Set(orders.map(order => order.id))
  const problems = [
    ...(placed === expectedOrders ? [] : [`${expectedOrders} orders were to be placed, ${placed} were`]),
    ...losses,
    ...ledger.jobs.flatMap(excessOf),
    ...ledger.jobs.filter(job => !known.has(job.orderId)).map(job => `${named(job)} is of an order that vanished`),
    ...[...receipts].filter(id => !known.has(id)).map(id => `there is a receipt of order ${id}, which vanished`),
  ]
  return { totals, problems }
}

/** What an order still lacks: two jobs with their effects, and the webhook that fulfils it. */
function lossesOf(order: OrderEntry, { jobs, receipts }: Ledger): string[] {
  const effects = [
    [renderReceipt.name, receipts.has(order.id)],
    [reserveStock.name, order.reserved],
    [DELIVERY, order.webhooks === 1 && order.status === 'fulfilled'],
  ] as const
  return effects.flatMap(([kind, effective]) => {
    const own = jobs.filter(job => job.kind === kind && job.orderId === order.id)
    if (own.length !== 1) return [`order ${order.id} has ${own.length} ${kind} jobs instead of 1`]
    const job = own[0] as JobEntry
    if (!ENDED.includes(job.state)) return [`${named(job)} is ${job.state}${lastError(job)}`]
    return job.state === 'completed' && !effective ? [`${named(job)} is completed without effect`] : []
  })
}

/** An attempt is closed once, and a job completed once; what failed for good is no loss, but no balance either. */
function excessOf(job: JobEntry): string[] {
  if (job.completions > 1) return [`${named(job)} was completed ${job.completions} times`]
  return job.state === 'failed' || job.state === 'cancelled' ? [`${named(job)} is ${job.state}${lastError(job)}`] : []
}

const named = ({ kind, id, orderId, attempt }: JobEntry): string =>
  `job ${id} (${kind} of order ${orderId}, attempt ${attempt})`

const lastError = ({ errors }: JobEntry): string => {
  const last = errors.at(-1)
  return last ? `; its last error: ${last.message}` : ''
}

/** The demo's last line. */
export const totalsLine = (totals: Totals): string =>
  `demo: ${Object.entries(totals)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')}`
