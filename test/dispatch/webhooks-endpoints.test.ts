// What dispatchers do for endpoints: who is told of what, what is put on the log, when they slow down, when nothing is sent at all.

import { defineManifest, syncManifest } from 'millrace'
import { admin } from 'millrace/admin'
import { deriveSealingKeyring, generateKeyring, generateWebhookSecret } from 'millrace/protocol'
import { Webhook } from 'standardwebhooks'
import { describe, expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startFunctionServer } from '../support/function-server.ts'
import { keyring } from '../support/ingress.ts'
import { freshDatabase, workOn } from '../support/maintenance.ts'
import { startWebhookEndpoint } from '../support/webhook-endpoint.ts'

const shared = useDatabase()
const secret = generateWebhookSecret()
const WEBHOOK = { type: 'closed', kind: 'millrace.webhook' } as const

const webhooks = (database: ReturnType<typeof workOn>) => admin(database.sql)

test('an endpoint hears of its tenant, of events besides ends, and of jobs that wait', async () => {
  const database = workOn(shared)
  const fn = await startFunctionServer(({ body }, nth) => (nth === 1 && body.attempt === 1 ? { status: 500 } : {}))
  const acme = await startWebhookEndpoint(secret)
  await database.declare([{ name: 'render', target: { url: fn.url, mode: 'sync' } }])
  const { endpoints, deliveries } = webhooks(database)
  await endpoints.create({ name: 'acme', url: acme.url, secret, tenant: 'acme', events: ['retried', 'completed'] })
  const work = await database.maintain({ listen: true })
  const id = await database.enqueue('render', {}, { metadata: { tenant: 'acme' } })
  await work.closed(id, 'completed')
  await database.enqueue('render', {}, { metadata: { tenant: 'other' } })
  await work.events.until({ ...WEBHOOK, state: 'completed' }, 2)
  expect(acme.deliveries.all.map(({ event }) => [event.type, event.data.attempt]).toSorted()).toEqual([
    ['job.completed', 2],
    ['job.retried', 1],
  ])
  const log = await deliveries.list({ about: id })
  expect(log.items.map(({ event, state, status }) => [event, state, status]).toSorted()).toEqual([
    ['job.completed', 'delivered', 204],
    ['job.retried', 'delivered', 204],
  ])
  expect(log.items[0]?.latency_ms).toEqual(expect.any(Number))
})

describe('the log of deliveries', () => {
  test('has how the answer began, in what the database can hold', async () => {
    const database = workOn(shared)
    const shop = await startWebhookEndpoint(secret, () => ({ status: 500, body: `no\0pe ${'x'.repeat(2_000)}` }))
    const { endpoints, deliveries } = webhooks(database)
    await endpoints.create({ name: 'excerpt', url: shop.url, secret })
    const work = await database.maintain({ listen: true })
    await endpoints.test('excerpt')
    await work.events.until({ ...WEBHOOK })
    const [row] = (await deliveries.list({ endpoint: 'excerpt' })).items
    expect(row).toMatchObject({ state: 'failed', status: 500, code: null, event: 'webhook.test', about: null })
    expect(row?.response).toBe(`no\ufffdpe ${'x'.repeat(2_000)}`.slice(0, 1_000))
    expect(row?.latency_ms).toBeGreaterThanOrEqual(0)
  })

  test('says why there was no answer', async () => {
    const database = workOn(shared)
    const { endpoints, deliveries } = webhooks(database)
    await endpoints.create({ name: 'away', url: 'http://127.0.0.1:9/hooks', secret })
    const work = await database.maintain({ listen: true })
    await endpoints.test('away')
    await work.events.until({ ...WEBHOOK })
    expect((await deliveries.list({ endpoint: 'away' })).items).toMatchObject([
      { state: 'failed', status: null, code: 'connect', latency_ms: expect.any(Number), response: null },
    ])
    expect(await endpoints.get('away')).toMatchObject({ state: 'failing' })
  })
})

describe('an endpoint that answers 410', () => {
  test('is disabled; what comes after that is not sent, and is redelivered once it is enabled', async () => {
    const database = workOn(shared)
    const fn = await startFunctionServer()
    const shop = await startWebhookEndpoint(secret, nth => (nth === 1 ? { status: 410 } : undefined))
    await database.declare([{ name: 'render', target: { url: fn.url, mode: 'sync' } }])
    const { endpoints, deliveries } = webhooks(database)
    await endpoints.create({ name: 'gone', url: shop.url, secret })
    const work = await database.maintain({ listen: true })
    await database.enqueue('render')
    expect(await work.events.first({ type: 'endpoint_disabled' })).toMatchObject({ endpoint: 'gone', reason: 'gone' })

    await database.enqueue('render')
    const unsent = await work.events.first({ ...WEBHOOK, code: 'endpoint_disabled' })
    expect(unsent).toMatchObject({ state: 'failed' })
    expect(shop.deliveries.all).toHaveLength(1)
    const log = await deliveries.list({ endpoint: 'gone' })
    expect(log.items).toMatchObject([
      { state: 'failed', code: 'endpoint_disabled', latency_ms: null, status: null },
      { state: 'failed', status: 410 },
    ])

    expect(await endpoints.enable('gone')).toMatchObject({ state: 'enabled' })
    expect(await deliveries.redeliverMany('gone')).toEqual({ redelivered: 2, refused: 0 })
    await work.events.until({ ...WEBHOOK, state: 'completed' }, 2)
    expect(new Set(shop.deliveries.all.map(({ id }) => id))).toEqual(new Set(log.items.map(({ message }) => message)))
    await endpoints.delete('gone')
  })
})

test('what has got through is sent again under the same id, with the same body', async () => {
  const database = workOn(shared)
  const shop = await startWebhookEndpoint(secret)
  const { endpoints, deliveries } = webhooks(database)
  await endpoints.create({ name: 'twice', url: shop.url, secret })
  const work = await database.maintain({ listen: true })
  const job = await endpoints.test('twice')
  await work.events.until({ ...WEBHOOK, state: 'completed' })
  await deliveries.redeliver(job ?? 0)
  const [first, second] = await shop.deliveries.until({}, 2)
  expect(second).toMatchObject({ id: first?.id, body: first?.body })
  expect((await deliveries.list({ endpoint: 'twice' })).items.every(({ message }) => message === `msg_${job}`)).toBe(
    true,
  )
})

describe('an origin is slowed down', () => {
  test.each([
    [429, 'available'],
    [503, 'available'],
    [502, 'failed'],
    [504, 'failed'],
  ])('by %i, which leaves the delivery %s', async (status, state) => {
    const database = await freshDatabase()
    const shop = await startWebhookEndpoint(secret, () => ({ status, headers: { 'retry-after': '2' } }))
    const { endpoints, deliveries } = webhooks(database)
    await endpoints.create({ name: 'slow', url: shop.url, secret })
    const work = await database.maintain({ listen: true })
    await endpoints.test('slow')
    expect(await work.events.first({ type: 'throttled' })).toMatchObject({
      origin: new URL(shop.url).origin,
      pauseMs: 2_000,
    })
    await work.events.first({ ...WEBHOOK, state })
    const expected = state === 'failed' ? { state: 'failed' } : { state: 'put_back' }
    expect((await deliveries.list({})).items).toMatchObject([{ ...expected, status }])
  })

  test('for a minute at most, however long one of its endpoints asks to be left alone', async () => {
    const database = await freshDatabase()
    const shop = await startWebhookEndpoint(secret, () => ({ status: 429, headers: { 'retry-after': '86400' } }))
    const { endpoints } = webhooks(database)
    await endpoints.create({ name: 'one', url: shop.url, secret })
    await endpoints.create({ name: 'other', url: shop.url, secret })
    const work = await database.maintain({ listen: true })
    const asked = await endpoints.test('one')
    expect(await work.events.first({ type: 'throttled' })).toMatchObject({ pauseMs: 60_000 })
    const neighbour = await endpoints.test('other')
    await work.events.until({ ...WEBHOOK, state: 'available' }, 2)
    const dueInSeconds = async (id: unknown) =>
      (Date.parse((await database.job(String(id))).run_at) - Date.now()) / 1000
    expect(await dueInSeconds(asked)).toBeGreaterThan(86_000)
    expect(await dueInSeconds(neighbour)).toBeLessThan(61)
  })

  test('but not by any other failure, and not by 503 of a function', async () => {
    const database = await freshDatabase()
    const fn = await startFunctionServer(() => ({ status: 503 }))
    const shop = await startWebhookEndpoint(secret, () => ({ status: 500 }))
    await database.declare([{ name: 'render', maxAttempts: 1, target: { url: fn.url, mode: 'sync' } }])
    const { endpoints } = webhooks(database)
    await endpoints.create({ name: 'shop', url: shop.url, secret, events: ['failed'] })
    const work = await database.maintain({ listen: true })
    await database.enqueue('render')
    await work.events.first({ ...WEBHOOK })
    expect(work.events.of({ type: 'throttled' })).toEqual([])
  })
})

test('an endpoint that does not answer keeps nobody else waiting', async () => {
  const database = await freshDatabase()
  const answer = Promise.withResolvers<void>()
  const hangs = await startFunctionServer(async () => {
    await answer.promise
    return { status: 204 }
  })
  const shop = await startWebhookEndpoint(secret)
  await database.declare([{ name: 'elsewhere', target: { url: hangs.url, mode: 'sync', concurrency: 1 } }])
  const { endpoints } = webhooks(database)
  await endpoints.create({ name: 'hangs', url: hangs.url, secret })
  await endpoints.create({ name: 'shop', url: shop.url, secret })
  const more = 200 // than are claimed at once and may wait
  for (let i = 0; i < more; i++) await endpoints.test('hangs')
  await endpoints.test('shop')
  const work = await database.maintain({ listen: true })
  await shop.deliveries.first({})
  await work.events.until({ ...WEBHOOK, state: 'available', code: 'throttled' }, more - 1)
  answer.resolve()
})

describe('a change of an endpoint holds at once', () => {
  test('its url and its secret', async () => {
    const database = workOn(shared)
    const [next, last] = [generateWebhookSecret(), generateWebhookSecret()]
    const [before, after] = [await startWebhookEndpoint(secret), await startWebhookEndpoint(last)]
    const { endpoints } = webhooks(database)
    await endpoints.create({ name: 'moves', url: before.url, secret })
    const work = await database.maintain({ listen: true })
    await endpoints.test('moves')
    await before.deliveries.first({})
    await endpoints.rotate('moves', { secret: next, graceSeconds: 0 })
    await endpoints.rotate('moves', { secret: last, graceSeconds: 0 })
    await endpoints.update('moves', { url: after.url })
    await work.events.until({ type: 'reloaded' }, 1)
    await endpoints.test('moves')
    await after.deliveries.first({})
    expect(before.deliveries.all).toHaveLength(1)
  })
})

describe('a sealed secret', () => {
  const sealingKeys = deriveSealingKeyring(keyring)
  const manifest = (url: string) => defineManifest({ subscriptions: [{ name: 'sealed', url, secret }] })

  test('signs as it is', async () => {
    const database = await freshDatabase()
    const shop = await startWebhookEndpoint(secret)
    await syncManifest(database.sql, manifest(shop.url), { sealingKeys })
    const [row] = await database.sql`select secret from millrace.endpoint_secret`
    expect(row?.secret).toMatch(/^sealed:k1:/)
    await database.maintain({ listen: true })
    await webhooks(database).endpoints.test('sealed')
    expect(await shop.deliveries.first({})).toMatchObject({ event: { type: 'webhook.test' } })
  })

  test('that cannot be read puts the delivery back, and nothing is sent unsigned', async () => {
    const database = await freshDatabase()
    const shop = await startFunctionServer()
    await syncManifest(database.sql, manifest(shop.url), { sealingKeys: deriveSealingKeyring(generateKeyring('lost')) })
    const work = await database.maintain({ listen: true })
    const job = await webhooks(database).endpoints.test('sealed')
    expect(await work.events.first({ ...WEBHOOK })).toMatchObject({ state: 'available', code: 'secret_unreadable' })
    expect(shop.received.all).toEqual([])
    expect(await database.job(String(job))).toMatchObject({ put_back: { code: 'secret_unreadable' } })
    expect(await webhooks(database).endpoints.get('sealed')).toMatchObject({ state: 'enabled' })
  })

  test('that is only to go and cannot be read does not keep the newer one from signing', async () => {
    const database = await freshDatabase()
    const next = generateWebhookSecret()
    const shop = await startFunctionServer()
    await syncManifest(database.sql, manifest(shop.url), { sealingKeys: deriveSealingKeyring(generateKeyring('lost')) })
    const rotated = defineManifest({ subscriptions: [{ name: 'sealed', url: shop.url, secret: next }] })
    await syncManifest(database.sql, rotated, { sealingKeys })
    await database.maintain({ listen: true })
    await webhooks(database).endpoints.test('sealed')
    const { text, headers } = await shop.received.first({})
    expect(new Webhook(next).verify(text, headers as Record<string, string>)).toMatchObject({ type: 'webhook.test' })
  })
})

test('very many endpoints are looked up as they are needed, those of a moment in one statement', async () => {
  const database = await freshDatabase()
  const shop = await startFunctionServer(() => ({ status: 204 }))
  await database.sql`
    insert into millrace.endpoint (name, tenant, events, url)
    select 'e' || n, 't' || n, '{completed}', ${shop.url} from generate_series(1, 2000) n`
  await database.sql`insert into millrace.endpoint_secret (endpoint, secret) select name, ${secret} from millrace.endpoint`
  await database.sql`select millrace.endpoint_test('e' || n) from generate_series(1, 200) n`
  const lookUps: unknown[] = []
  const work = await database.maintain({
    listen: true,
    wrap: sql => ({
      query: (text, params) => {
        if (text.includes('delivery_routes')) lookUps.push(params)
        return sql.query(text, params)
      },
    }),
  })
  await work.events.until({ ...WEBHOOK, state: 'completed' }, 200)
  expect(shop.received.all).toHaveLength(200)
  expect(lookUps.length).toBeLessThan(20)
})
