// Completion webhooks: asked for by a subscription, put down with the outcome, delivered and retried as jobs of their own.

import { toSql } from 'millrace'
import { generateWebhookSecret, verifyWebhook } from 'millrace/protocol'
import { describe, expect, test } from 'vitest'
import { SqlEngine } from '../../core/sql-engine.ts'
import { useDatabase } from '../support/database.ts'
import { callBack, startFunctionServer } from '../support/function-server.ts'
import { startIngress } from '../support/ingress.ts'
import { freshDatabase, workOn } from '../support/maintenance.ts'
import { startWebhookEndpoint } from '../support/webhook-endpoint.ts'

/** Each test declares anew what is in it, and leaves no job behind. */
const shared = useDatabase()

const secret = generateWebhookSecret()

/** A function that fails the jobs that say so, at one attempt per job. */
const obedient = () =>
  startFunctionServer(({ body }) => {
    const { fail } = body.args as { fail?: boolean }
    return fail ? { status: 422, body: 'as you wish' } : { body: { pages: 2 } }
  })

test('a delivery says what became of the job, and the stock library verifies it', async () => {
  const database = workOn(shared)
  const [fn, shop] = [await obedient(), await startWebhookEndpoint(secret)]
  await database.declare(
    [{ name: 'render', queue: 'printing', target: { url: fn.url, mode: 'sync' } }],
    [{ name: 'shop', url: shop.url, secret }],
  )
  const work = await database.maintain({ listen: true })
  const id = await database.enqueue('render', { order: 42 }, { tags: ['vip'], metadata: { tenant: 7 } })
  const { event, body } = await shop.deliveries.first({})
  const job = await database.job(id)
  expect(event).toEqual({
    type: 'job.completed',
    timestamp: job.finished_at,
    data: {
      job_id: Number(id),
      kind: 'render',
      queue: 'printing',
      attempt: 1,
      state: 'completed',
      enqueued_at: job.enqueued_at,
      finished_at: job.finished_at,
      tags: ['vip'],
      args: { order: 42 },
      metadata: { tenant: 7 },
      result: { pages: 2 },
    },
  })
  const [received] = shop.server.received.all
  expect(received?.headers['content-type']).toBe('application/json')
  expect(verifyWebhook(secret, received?.headers as object, new TextEncoder().encode(body), Date.now())).toBe('valid')
  await work.events.until({ type: 'closed', kind: 'millrace.webhook', state: 'completed' })
})

test('a failed job carries its error', async () => {
  const database = workOn(shared)
  const [fn, shop] = [await obedient(), await startWebhookEndpoint(secret)]
  await database.declare(
    [{ name: 'render', target: { url: fn.url, mode: 'sync' } }],
    [{ name: 'shop', url: shop.url, secret }],
  )
  await database.maintain({ listen: true })
  await database.enqueue('render', { fail: true })
  const { event } = await shop.deliveries.first({})
  expect(event).toMatchObject({
    type: 'job.failed',
    data: { state: 'failed', error: { code: 'http_422', message: 'function returned 422: as you wish' }, result: null },
  })
})

test('attempts that are retried are not heard of; the end is, once', async () => {
  const database = workOn(shared)
  const fn = await startFunctionServer((_, nth) => (nth < 3 ? { status: 500 } : {}))
  const shop = await startWebhookEndpoint(secret)
  await database.declare(
    [{ name: 'render', target: { url: fn.url, mode: 'sync' } }],
    [{ name: 'shop', url: shop.url, secret }],
  )
  const work = await database.maintain({ listen: true })
  await database.enqueue('render')
  await work.events.until({ type: 'closed', kind: 'millrace.webhook' })
  expect(shop.deliveries.all.map(({ event }) => [event.type, event.data.attempt])).toEqual([['job.completed', 3]])
})

test("numbers of the job's arguments arrive as they were, however large", async () => {
  const database = workOn(shared)
  const [fn, shop] = [await obedient(), await startWebhookEndpoint(secret)]
  await database.declare(
    [{ name: 'render', target: { url: fn.url, mode: 'sync' } }],
    [{ name: 'say, "endpoint": "x', url: shop.url, secret }],
  )
  await database.maintain({ listen: true })
  await database.sql`select millrace.enqueue('render', '{"id": 12345678901234567890, "say": ", \\"endpoint\\": \\"y"}')`
  const { body, event } = await shop.deliveries.first({})
  expect(body).toContain('12345678901234567890')
  expect(event.data.args).toMatchObject({ say: ', "endpoint": "y' })
})

describe('retries', () => {
  test('keep id and body, so that the receiver can tell a repetition, and are signed anew', async () => {
    const database = workOn(shared)
    const again = { status: 500, headers: { 'retry-after': '1' } }
    const [fn, shop] = [await obedient(), await startWebhookEndpoint(secret, nth => (nth < 2 ? again : undefined))]
    await database.declare(
      [{ name: 'render', target: { url: fn.url, mode: 'sync' } }],
      [{ name: 'shop', url: shop.url, secret }],
    )
    await database.maintain({ listen: true })
    await database.enqueue('render')
    const [first, second] = await shop.deliveries.until({}, 2)
    expect(second).toMatchObject({ id: first?.id, body: first?.body })
    expect(second?.timestamp).toBeGreaterThan(first?.timestamp ?? 0)
  })

  test('come with the backoff of deliveries, which has a cap of its own', async () => {
    const database = await freshDatabase()
    const [fn, shop] = [await obedient(), await startWebhookEndpoint(secret, () => ({ status: 400 }))]
    await database.declare(
      [{ name: 'render', target: { url: fn.url, mode: 'sync' } }],
      [{ name: 'shop', url: shop.url, secret }],
    )
    await database.sql`update millrace.setting set value = 0 where name = 'webhook_backoff_cap_seconds'`
    await database.sql`update millrace.setting set value = 3 where name = 'webhook_max_attempts'`
    const work = await database.maintain({ listen: true })
    await database.enqueue('render')
    await work.events.until({ type: 'closed', kind: 'millrace.webhook', state: 'failed' })
    expect(shop.deliveries.all).toHaveLength(3)
  })

  test('end with a 410: nobody wants them any more', async () => {
    const database = workOn(shared)
    const [fn, shop] = [await obedient(), await startWebhookEndpoint(secret, () => ({ status: 410 }))]
    await database.declare(
      [{ name: 'render', target: { url: fn.url, mode: 'sync' } }],
      [{ name: 'shop', url: shop.url, secret }],
    )
    const work = await database.maintain({ listen: true })
    await database.enqueue('render')
    const closed = await work.events.first({ type: 'closed', kind: 'millrace.webhook' })
    expect(closed).toMatchObject({ state: 'failed', code: 'http_410', attempt: 1 })
  })

  test('end when the subscription is gone', async () => {
    const database = workOn(shared)
    const [fn, shop] = [await obedient(), await startWebhookEndpoint(secret, () => ({ status: 500 }))]
    const kinds = [{ name: 'render', target: { url: fn.url, mode: 'sync' } }] as const
    await database.declare(kinds, [{ name: 'shop', url: shop.url, secret }])
    const work = await database.maintain({ listen: true })
    await database.enqueue('render')
    await work.events.until({ type: 'closed', kind: 'millrace.webhook', state: 'retryable' })
    await database.declare(kinds)
    await database.passTime()
    // Nothing tells that time has passed, so something else has to wake it.
    await database.enqueue('render', {}, { delay_seconds: 0.001 })
    const closed = await work.events.first({ type: 'closed', kind: 'millrace.webhook', state: 'failed' })
    expect(closed).toMatchObject({ code: 'no_endpoint' })
  })
})

describe('who hears what', () => {
  test('events, kinds and the number of subscriptions decide; deliveries themselves are not heard of', async () => {
    const database = await freshDatabase()
    const fn = await obedient()
    const [all, ends, failures, receipts] = [
      await startWebhookEndpoint(secret),
      await startWebhookEndpoint(secret),
      await startWebhookEndpoint(secret),
      await startWebhookEndpoint(secret),
    ]
    const target = { url: fn.url, mode: 'sync' } as const
    await database.declare(
      [
        { name: 'receipt', target },
        { name: 'stock', target },
      ],
      [
        { name: 'all', url: all.url, secret },
        { name: 'ends', events: ['completed'], url: ends.url, secret },
        { name: 'failures', events: ['failed'], url: failures.url, secret },
        { name: 'receipts', kinds: ['receipt'], url: receipts.url, secret },
      ],
    )
    const work = await database.maintain({ listen: true })
    for (const kind of ['receipt', 'stock']) for (const fail of [true, false]) await database.enqueue(kind, { fail })
    await work.events.until({ type: 'closed', kind: 'millrace.webhook', state: 'completed' }, 4 + 2 + 2 + 2)
    const heardBy = ({ deliveries }: typeof all) =>
      deliveries.all.map(({ event }) => `${event.data.kind} ${event.type}`).toSorted()
    expect(heardBy(all)).toEqual([
      'receipt job.completed',
      'receipt job.failed',
      'stock job.completed',
      'stock job.failed',
    ])
    expect(heardBy(ends)).toEqual(['receipt job.completed', 'stock job.completed'])
    expect(heardBy(failures)).toEqual(['receipt job.failed', 'stock job.failed'])
    expect(heardBy(receipts)).toEqual(['receipt job.completed', 'receipt job.failed'])
    const [jobs] = await database.sql`select count(distinct id)::int as count from millrace.job_log`
    expect(jobs).toEqual({ count: 4 + 10 })
  })
})

describe('a delivery is put down in the transaction that closes the attempt', () => {
  test('whoever closes it: here the callback ingress', async () => {
    const database = workOn(shared)
    const fn = await startFunctionServer(() => ({ status: 202 }))
    const shop = await startWebhookEndpoint(secret)
    const ingress = await startIngress(toSql(database.sql))
    await database.declare([{ name: 'render', target: { url: fn.url } }], [{ name: 'shop', url: shop.url, secret }])
    await database.maintain({ listen: true, callbackUrl: ingress.url })
    await database.enqueue('render')
    await callBack(await fn.received.first({}), 'complete', { payload: 'printed' })
    expect(await shop.deliveries.first({})).toMatchObject({
      event: { type: 'job.completed', data: { result: 'printed' } },
    })
  })

  test('and when that rolls back, there is neither outcome nor delivery', async () => {
    const database = await freshDatabase()
    await database.declare([{ name: 'render' }], [{ name: 'shop', url: 'http://127.0.0.1:9', secret }])
    await database.enqueue('render')
    const [claimed] = await database.engine.claim(await database.engine.runtimeStart('test'), 1)
    const { segment = '', id = '', attempt = 0 } = claimed ?? {}
    const rollback = new Error('changed our mind')
    const closing = database.sql.begin(async tx => {
      await new SqlEngine(toSql(tx)).close([{ segment, id, attempt, outcome: { kind: 'completed' } }])
      const [row] = await tx`select count(*)::int as deliveries from millrace.job_log where kind = 'millrace.webhook'`
      expect(row).toEqual({ deliveries: 1 })
      throw rollback
    })
    await expect(closing).rejects.toBe(rollback)
    expect(await database.outcomes()).toEqual({})
    const [row] = await database.sql`select count(*)::int as jobs from millrace.job_log`
    expect(row).toEqual({ jobs: 1 })
  })
})
