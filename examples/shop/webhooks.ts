// The shop's webhook endpoint: when a receipt is rendered, its order is fulfilled.

import { Hono } from 'hono'
import postgres from 'postgres'
import { Webhook } from 'standardwebhooks'
import { environment } from './environment.ts'
import { listen } from './listen.ts'

/** The part of the event that the shop reads. */
interface ReceiptRendered {
  readonly type: 'job.completed'
  readonly data: { readonly job_id: number; readonly args: { readonly orderId: number } }
}

const env = environment('DATABASE_URL', 'WEBHOOK_SECRET')
const sql = postgres(env.DATABASE_URL, { max: 8, fetch_types: false })
// A stock Standard Webhooks library: nothing of Millrace is needed on this side.
const webhook = new Webhook(env.WEBHOOK_SECRET)

const app = new Hono()
app.post('/webhooks', async c => {
  const event = verified(await c.req.text(), c.req.header())
  if (!event) return c.json({ error: 'invalid signature' }, 401)
  const { orderId } = event.data.args
  const fresh = await fulfil(c.req.header('webhook-id') as string, orderId)
  console.log(fresh ? `webhook: order ${orderId} fulfilled` : `webhook: order ${orderId} heard before, ignored`)
  return c.body(null, 204)
})
function verified(body: string, headers: Record<string, string>): ReceiptRendered | undefined {
  try {
    return webhook.verify(body, headers) as ReceiptRendered
  } catch {
    return undefined
  }
}

/** Deliveries are at least once: the webhook's id goes on record in the transaction that it causes. */
const fulfil = (webhookId: string, orderId: number): Promise<boolean> =>
  sql.begin(async tx => {
    const fresh = await tx`
      insert into shop.webhook (id, order_id) values (${webhookId}, ${orderId}) on conflict do nothing returning id`
    if (fresh.length === 0) return false
    await tx`update shop.orders set status = 'fulfilled', fulfilled_at = now() where id = ${orderId} and status = 'new'`
    return true
  })

await listen(app, () => sql.end({ timeout: 5 }))
