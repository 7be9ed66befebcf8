// The function service: does the shop's jobs. A plain Hono app, here on Node; it runs anywhere a fetch handler does.

import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Hono } from 'hono'
import { handle, NonRetryableError, type ReceiverEvent, serve } from 'millrace/function'
import postgres from 'postgres'
import { environment } from './environment.ts'
import { renderReceipt, reserveStock } from './kinds.ts'
import { listen } from './listen.ts'
import { type Order, receiptPdf } from './receipt.ts'

const env = environment('DATABASE_URL', 'MILLRACE_DISPATCH_KEYS', 'RECEIPTS_FOLDER')
/** The order whose receipt jams at the first attempt, to show a retry; none unless given. */
const jamOnOrder = Number(process.env.JAM_ON_ORDER)
const sql = postgres(env.DATABASE_URL, { max: 8, fetch_types: false })

/** Callback mode. Deliveries are at least once: the same order always makes the same file. */
const receipt = handle(renderReceipt, async ({ orderId }, job) => {
  if (orderId === jamOnOrder && job.attempt === 1) throw new Error('the printer jammed')
  const order = await findOrder(orderId)
  await job.setProgress({ percent: 50, message: 'drawing' })
  const pdf = await receiptPdf(order)
  const file = join(env.RECEIPTS_FOLDER, `receipt-${orderId}.pdf`)
  await writeFile(`${file}.${job.attempt}.part`, pdf)
  await rename(`${file}.${job.attempt}.part`, file)
  console.log(`receipt ${orderId} rendered (attempt ${job.attempt})`)
  return { orderId, file, bytes: pdf.length }
})

/** Sync mode. The reservation's key keeps a second delivery from taking the stock twice. */
const stock = handle(reserveStock, async ({ orderId }, job) => {
  const reserved = await sql.begin(async tx => {
    const fresh = await tx`insert into shop.reservation values (${orderId}) on conflict do nothing returning order_id`
    if (fresh.length === 0) return false
    await tx`
      update shop.stock set available = available - wanted.quantity
      from (
        select line ->> 'sku' as sku, sum((line ->> 'quantity')::int) as quantity
        from shop.orders, jsonb_array_elements(lines) line where id = ${orderId} group by 1 order by 1
      ) wanted where stock.sku = wanted.sku`
    return true
  })
  console.log(`stock for order ${orderId} ${reserved ? 'reserved' : 'was reserved before'} (attempt ${job.attempt})`)
  return { reserved }
})

async function findOrder(orderId: number): Promise<Order> {
  const [order] = await sql<Order[]>`
    select id, customer, lines, total_cents as "totalCents" from shop.orders where id = ${orderId}`
  // An order that is not there now will not be there at the next attempt either.
  if (!order) throw new NonRetryableError(`there is no order ${orderId}`)
  return order
}

const receiver = serve({ kinds: [receipt, stock], dispatchKeys: env.MILLRACE_DISPATCH_KEYS, onEvent: tell })
const app = new Hono()
app.post('/jobs', c => receiver.fetch(c.req.raw))
await listen(app, async () => {
  await receiver.drain()
  await sql.end({ timeout: 5 })
})

function tell(event: ReceiverEvent): void {
  if (event.type === 'refused') console.log(`refused a dispatch: ${event.message} [${event.code}]`)
  else if (event.ending.kind === 'failed') {
    console.log(`job ${event.jobId} ${event.kind} failed (attempt ${event.attempt}): ${event.ending.error}`)
  }
}
