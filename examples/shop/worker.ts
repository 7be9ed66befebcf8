// The order API, a Cloudflare Worker: inserts an order and enqueues its jobs in one transaction.

import { Hono } from 'hono'
import { enqueue } from 'millrace'
import postgres from 'postgres'
import * as v from 'valibot'
import { catalogue, type OrderLine, type Sku } from './catalogue.ts'
import { renderReceipt, reserveStock } from './kinds.ts'

/** `DB` is the Hyperdrive binding of wrangler.jsonc. */
interface Env {
  Bindings: { DB: { connectionString: string } }
}

const newOrder = v.object({
  customer: v.pipe(v.string(), v.minLength(1)),
  lines: v.pipe(
    v.array(
      v.object({
        sku: v.picklist(Object.keys(catalogue) as Sku[]),
        quantity: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(100)),
      }),
    ),
    v.minLength(1),
  ),
})

interface Placed {
  readonly orderId: number
  readonly receiptJob: string
  readonly stockJob: string
}

/** Thrown inside the transaction, so that the order and its jobs vanish together. */
class ChangedMind extends Error {
  readonly placed: Placed
  constructor(placed: Placed) {
    super('The customer changed their mind')
    this.placed = placed
  }
}

const app = new Hono<Env>()

app.get('/healthz', c => c.text('ok'))

/** With `?fail=1` everything is done and then rolled back. */
app.post('/orders', async c => {
  const order = v.safeParse(newOrder, await c.req.json().catch(() => undefined))
  if (!order.success) return c.json({ error: v.summarize(order.issues) }, 400)
  const placed = await withDatabase(c.env, sql =>
    sql.begin(async tx => {
      const placed = await place(tx, order.output)
      if (c.req.query('fail')) throw new ChangedMind(placed)
      return placed
    }),
  )
  console.log(`order ${placed.orderId} placed → jobs ${placed.receiptJob} and ${placed.stockJob}`)
  return c.json(placed, 201)
})

app.get('/orders/:id{[0-9]+}', async c => {
  const [order] = await withDatabase(
    c.env,
    sql => sql`select id, customer, lines, total_cents, status from shop.orders where id = ${c.req.param('id')}`,
  )
  return order ? c.json(order) : c.json({ error: 'no such order' }, 404)
})

app.onError((error, c) => {
  if (error instanceof ChangedMind) {
    console.log(`order ${error.placed.orderId} rolled back on purpose`)
    return c.json({ error: error.message, rolledBack: error.placed }, 409)
  }
  console.error(error)
  return c.json({ error: 'The order could not be placed' }, 500)
})

/** `enqueue` takes the transaction: the jobs commit with the order, or not at all. */
async function place(tx: postgres.TransactionSql, order: v.InferOutput<typeof newOrder>): Promise<Placed> {
  const lines: OrderLine[] = order.lines.map(line => ({ ...line, priceCents: catalogue[line.sku].priceCents }))
  const total = lines.reduce((sum, line) => sum + line.quantity * line.priceCents, 0)
  const [row] = await tx<{ id: number }[]>`
    insert into shop.orders (customer, lines, total_cents)
    values (${order.customer}, ${tx.json(lines as never)}, ${total}) returning id`
  const orderId = row?.id as number
  return {
    orderId,
    receiptJob: await enqueue(tx, renderReceipt, { orderId }),
    stockJob: await enqueue(tx, reserveStock, { orderId }),
  }
}

/** One connection per request: Hyperdrive keeps the pool. */
async function withDatabase<T>(env: Env['Bindings'], work: (sql: postgres.Sql) => PromiseLike<T>): Promise<T> {
  const sql = postgres(env.DB.connectionString, { max: 1, fetch_types: false })
  try {
    return await work(sql)
  } finally {
    await sql.end()
  }
}

export default app
