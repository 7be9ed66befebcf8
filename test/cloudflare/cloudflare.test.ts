// Everything on Cloudflare, in workerd: Workers for ingress and API, functions, and maintenance in a Durable Object.

import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { DRIVERS, type Driver, startCloud } from '../support/cloud.ts'
import { startFunctionServer } from '../support/function-server.ts'
import { startWebhookEndpoint } from '../support/webhook-endpoint.ts'

const SECRET = `whsec_${Buffer.from('0'.repeat(32)).toString('base64')}`

let cloud: Awaited<ReturnType<typeof startCloud>>

beforeAll(async () => {
  cloud = await startCloud()
})
afterAll(() => cloud.stop())

/** A driver's database with its kinds declared: one behind a URL, in callback mode, and one behind a service binding. */
async function shop(driver: Driver, webhooks?: string) {
  const database = cloud.databases[driver]
  await database.declare(
    [
      { name: 'resize', target: { url: `${cloud.url}/${driver}/jobs`, mode: 'callback' } },
      { name: 'resize_bound', target: { url: `binding://FUNCTIONS/${driver}/jobs`, mode: 'sync' } },
    ],
    webhooks === undefined ? [] : [{ name: 'shop', url: webhooks, secret: SECRET, events: ['completed'] }],
  )
  const ends = async (job: string, state = 'completed') => {
    await expect.poll(() => database.job(job), { timeout: 15_000 }).toHaveProperty('state', state)
    return database.job(job)
  }
  return { database, ends, ...cloud.callsOf(driver) }
}

/** What the platform does at the times of the Cron Trigger. */
async function cron(name = '*') {
  const response = await fetch(`${cloud.url}/cdn-cgi/local/scheduled?cron=${name}`)
  expect(await response.text()).toBe('ok')
}

/** Resolves once nobody has been connected to Hyperdrive's database for a while: nothing is at work there. */
async function asleep(forMs = 700) {
  let [seen, since] = [-1, 0]
  await expect
    .poll(
      () => {
        const { connections, open } = cloud.proxy
        if (open > 0 || connections !== seen) [seen, since] = [connections, performance.now()]
        return performance.now() - since
      },
      { timeout: 15_000 },
    )
    .toBeGreaterThan(forMs)
}

test.each(DRIVERS)('%s: enqueue, dispatch, callback, webhook, retry, cancel', async driver => {
  const endpoint = await startWebhookEndpoint(SECRET)
  const { order, post, ends, database } = await shop(driver, endpoint.url)
  const rolledBack = await order({}, '?fail')
  const [called, bound, retried] = [
    await order(),
    await order({ kind: 'resize_bound' }),
    await order({ failures: 1, width: 5 }),
  ]
  const later = await order({ delaySeconds: 3_600 })
  const runsOn = 'Cloudflare-Workers'
  expect(await ends(called)).toMatchObject({ attempt: 1, result: { height: 8, runsOn } })
  expect(await ends(bound)).toMatchObject({ attempt: 1, result: { height: 8, runsOn } })
  expect(await ends(retried)).toMatchObject({ attempt: 2, result: { height: 10, runsOn } })
  expect(await post('/api/jobs/cancel', { ids: [later] })).toMatchObject({ status: 200 })
  expect(await database.job(later)).toMatchObject({ state: 'cancelled' })
  expect(await database.engine.job(rolledBack)).toBeUndefined()
  const delivered = await endpoint.deliveries.until({}, 3)
  expect(delivered.map(({ event }) => String(event.data.job_id)).sort()).toEqual([called, bound, retried].sort())
})

test('asleep it issues no statement until a deferred job is due', async () => {
  const { order, ends } = await shop('hyperdrive')
  await asleep()
  const job = await order({ kind: 'resize_bound', delaySeconds: 3 })
  const dueAt = Date.now() + 3_000
  await asleep()
  const { connections } = cloud.proxy
  // The safety net sees that an alarm is set, and leaves it at that.
  for (let minute = 0; minute < 3; minute++) await cron()
  await expect.poll(() => cloud.proxy.connections, { timeout: 10_000, interval: 10 }).toBeGreaterThan(connections)
  expect(Date.now()).toBeGreaterThan(dueAt - 500)
  await ends(job)
})

test('a schedule is fired: a slice that only dispatches learns that there is more to do', async () => {
  const { database, post } = await shop('neon')
  await database.sql`
    insert into millrace.schedule (name, expression, timezone, kind, args, missed, overlap, source, done_to)
    values ('hourly', '0 * * * *', 'UTC', 'resize_bound', '{"width": 2}', 'coalesce', 'allow', 'default', now() - interval '3 hours')`
  const completed = async () => (await database.outcomes()).c ?? 0
  const before = await completed()
  await post('/wake')
  await expect.poll(completed, { timeout: 15_000 }).toBe(before + 1)
})

test('two objects share the work: no attempt is sent twice', async () => {
  // One object sends five at once: the sixth is another one's.
  const both = Promise.withResolvers<void>()
  const fn = await startFunctionServer(async (_, nth) => {
    if (nth > 5) both.resolve()
    await both.promise
    return {}
  })
  const { database, post } = await shop('direct')
  await database.declare([{ name: 'count', target: { url: fn.url, mode: 'sync' } }], [], 'count')
  const jobs = await database.enqueueMany('count', 150)
  await Promise.all(['maintenance', 'another'].map(name => post(`/wake?name=${name}`)))
  await fn.received.until({}, jobs.length)
  await expect
    .poll(async () => (await database.outcomes()).c ?? 0, { timeout: 15_000 })
    .toBeGreaterThanOrEqual(jobs.length)
  expect(new Set(fn.received.all.map(({ body }) => body.job_id)).size).toBe(jobs.length)
  expect(fn.received.all).toHaveLength(jobs.length)
  expect(fn.mostAtOnce).toBeLessThanOrEqual(10)
})

test('while the database is away it waits longer and longer, and goes on by itself', async () => {
  const { order, ends, post } = await shop('hyperdrive')
  const job = await order({ kind: 'resize_bound' }, '?quiet')
  await asleep()
  cloud.proxy.refuse()
  onTestFinished(() => cloud.proxy.restore())
  const { connections } = cloud.proxy
  await post('/wake')
  await expect.poll(() => cloud.proxy.connections).toBeGreaterThan(connections)
  expect(await post('/api/jobs/cancel', { ids: [job] })).toMatchObject({ status: 503 })
  // What is not rightly signed is refused without a database.
  expect(await post('/api/callbacks/k1.0.1.1/complete')).toMatchObject({ status: 401 })
  cloud.proxy.restore()
  await ends(job)
})

test('the cron starts an object that has no alarm', async () => {
  const { order, ends } = await shop('direct')
  const job = await order({ kind: 'resize_bound' }, '?quiet')
  await cron('new')
  await ends(job)
})

test('an alarm survives the end of its process', async () => {
  const { order, ends } = await shop('hyperdrive')
  await asleep()
  const job = await order({ kind: 'resize_bound', delaySeconds: 2 })
  await asleep()
  await cloud.restart()
  await ends(job)
})
