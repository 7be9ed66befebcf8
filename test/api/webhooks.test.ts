// Webhooks as a product, over the API: a real dispatcher, a real server at the other end, and the stock library to verify.

import { createPublicKey, verify } from 'node:crypto'
import { deriveSealingKeyring } from 'millrace/protocol'
import { expect, test } from 'vitest'
import { KEYS, makeApi } from '../support/api.ts'
import type { Received } from '../support/function-server.ts'
import { keyring } from '../support/ingress.ts'
import { headersOf, startWebhookReceiver, verified, webhookDeployment } from '../support/webhook-product.ts'

const sealingKeys = deriveSealingKeyring(keyring)

async function deployed() {
  const deployment = await webhookDeployment()
  const { call } = makeApi({ sql: deployment.database.sql, allowTargets: ['loopback'], sealingKeys })
  const post = (path: string, body: unknown = {}, key: string = KEYS.all) => call('POST', path, { body, key })
  const get = async (path: string, key: string = KEYS.all) => (await call('GET', path, { key })).body
  const enqueue = async (key?: string): Promise<number> => (await post('/api/jobs', { kind: 'render' }, key)).body.id
  return { ...deployment, call, post, get, enqueue, shop: await startWebhookReceiver() }
}

const idOf = (received: Received) => headersOf(received)['webhook-id']

test('an endpoint is made, and told of a job’s end, signed with the secret that was answered', async () => {
  const { post, get, enqueue, ended, shop } = await deployed()
  const { status, body: made } = await post('/api/endpoints', { name: 'shop', url: shop.url, events: ['completed'] })
  expect({ status, made }).toMatchObject({ status: 201, made: { state: 'enabled', secrets: [{ sealed: true }] } })
  const job = await enqueue()
  const received = await shop.received.first({})
  expect(verified(made.secret, received)).toMatchObject({
    type: 'job.completed',
    data: { job_id: job, kind: 'render' },
  })
  await ended('completed', 1)
  const { items } = await get(`/api/endpoints/shop/deliveries?about=${job}`)
  expect(items).toMatchObject([
    { message: idOf(received), event: 'job.completed', state: 'delivered', status: 204, attempt: 1, response: '' },
  ])
  expect(await get(`/api/deliveries?job=${items[0].job}&state=delivered`)).toMatchObject({ items })
  const view = await get('/api/endpoints/shop')
  expect(view).toMatchObject({ last_success_at: expect.any(String), last_failure_at: null })
  expect(JSON.stringify([view, await get('/api/endpoints'), await get('/api/audit')])).not.toContain(made.secret)
})

test('another secret signs from now on, the one before along with it until its grace is over', async () => {
  const { post, ended, known, shop } = await deployed()
  const { secret: old } = (await post('/api/endpoints', { name: 'shop', url: shop.url })).body
  const rotated = (await known(() => post('/api/endpoints/shop/rotate-secret', { grace_seconds: 600 }))).body
  expect(rotated.secrets).toMatchObject([{ expires_at: null }, { expires_at: expect.any(String) }])
  await post('/api/endpoints/shop/test')
  const both = await shop.received.first({})
  for (const secret of [old, rotated.secret]) expect(verified(secret, both)).toMatchObject({ type: 'webhook.test' })
  await ended('completed', 1)

  const { secret: last } = (await known(() => post('/api/endpoints/shop/rotate-secret', { grace_seconds: 0 }))).body
  await post('/api/endpoints/shop/test')
  const [, alone] = (await shop.received.until({}, 2)) as [Received, Received]
  expect(verified(last, alone)).toMatchObject({ type: 'webhook.test' })
  for (const secret of [old, rotated.secret]) expect(() => verified(secret, alone)).toThrow()
})

test('an endpoint with v1a answers its public key, which verifies', async () => {
  const { post, shop } = await deployed()
  const { body } = await post('/api/endpoints', { name: 'shop', url: shop.url, signature: 'v1a' })
  expect(body).not.toHaveProperty('secret')
  await post('/api/endpoints/shop/test')
  const received = await shop.received.first({})
  const { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signature } = headersOf(received)
  const x = Buffer.from(body.public_key.slice('whpk_'.length), 'base64').toString('base64url')
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  const signed = Buffer.from(signature.slice('v1a,'.length), 'base64')
  expect(verify(null, Buffer.from(`${id}.${at}.${received.text}`), key, signed)).toBe(true)
})

test('failures are on the log; 410 disables; what was missed is sent again under the same webhook-ids', async () => {
  const { database, post, get, enqueue, ended, known, shop } = await deployed()
  await database.sql`update millrace.setting set value = 2 where name = 'webhook_max_attempts'`
  const { secret } = (await post('/api/endpoints', { name: 'shop', url: shop.url })).body
  shop.answers({ status: 500, body: 'the till is closed' })
  const jobs = [await enqueue(), await enqueue(), await enqueue()]
  await ended('retryable', 3)
  const { items } = await get('/api/endpoints/shop/deliveries?state=retrying')
  expect(items.map(({ about }: { about: number }) => about).toSorted()).toEqual(jobs)
  for (const item of items) {
    expect(item).toMatchObject({ attempt: 1, status: 500, response: 'the till is closed', code: null })
    expect(item.latency_ms).toBeGreaterThanOrEqual(0)
  }
  expect(await get('/api/endpoints?state=failing')).toMatchObject({ items: [{ name: 'shop' }] })

  shop.answers({ status: 410 })
  await database.passTime()
  await ended('failed', 3)
  expect(await get('/api/endpoints/shop')).toMatchObject({ state: 'disabled', disabled_reason: 'gone' })
  expect((await get('/api/dead-letters?kind=millrace.webhook')).items).toHaveLength(3)
  const disabled = { status: 409, body: { error: { code: 'endpoint_disabled' } } }
  expect(await post('/api/endpoints/shop/test')).toMatchObject(disabled)
  expect(await post('/api/endpoints/shop/redeliver')).toMatchObject(disabled)
  expect(await post(`/api/deliveries/${items[0].job}/redeliver`)).toMatchObject(disabled)

  shop.answers({ status: 204 })
  expect((await known(() => post('/api/endpoints/shop/enable'))).body).toMatchObject({ state: 'enabled' })
  const before = shop.received.all.length
  const { body: part } = await post('/api/endpoints/shop/redeliver', { limit: 2 })
  expect(part).toEqual({ redelivered: 2, refused: 0, cursor: expect.any(String) })
  const rest = await post('/api/endpoints/shop/redeliver', { limit: 2, cursor: part.cursor })
  expect(rest.body).toEqual({ redelivered: 1, refused: 0, cursor: null })
  await ended('completed', 3)
  const again = shop.received.all.slice(before)
  expect(again.map(idOf).toSorted()).toEqual(items.map(({ message }: { message: string }) => message).toSorted())
  expect(again.map(received => verified(secret, received).data.job_id).toSorted()).toEqual(jobs)
  expect((await post('/api/endpoints/shop/redeliver')).body).toMatchObject({ redelivered: 0, cursor: null })
})

test('one that has got through is sent again as another job; all of them, if that is asked for', async () => {
  const { post, get, enqueue, ended, shop } = await deployed()
  await post('/api/endpoints', { name: 'shop', url: shop.url })
  await enqueue()
  await ended('completed', 1)
  const [first] = (await get('/api/deliveries')).items
  const { body } = await post(`/api/deliveries/${first.job}/redeliver`)
  expect(body.job).not.toBe(first.job)
  await ended('completed', 2)
  const until = new Date(Date.now() + 60_000).toISOString()
  const all = await post('/api/endpoints/shop/redeliver', { failed_only: false, since: first.at, until })
  expect(all.body).toEqual({ redelivered: 1, refused: 0, cursor: null })
  await ended('completed', 3)
  expect(new Set(shop.received.all.map(idOf))).toEqual(new Set([first.message]))
  expect(await post('/api/deliveries/987654/redeliver')).toMatchObject({ status: 404 })
})

test('tenants hear of their own jobs, see their own deliveries, and inherit nothing with a name', async () => {
  const { database, call, post, get, enqueue, ended, known, shop } = await deployed()
  const keyOf = async (tenant: string) =>
    (await post('/api/keys', { name: tenant, scopes: ['enqueue', 'read', 'operate'], tenant })).body.key
  const [acme, other] = [await keyOf('acme'), await keyOf('other')]
  const theirs = await startWebhookReceiver()
  expect((await post('/api/endpoints', { name: 'a', url: shop.url }, acme)).body.tenant).toBe('acme')
  expect((await post('/api/endpoints', { name: 'b', url: theirs.url }, other)).body.tenant).toBe('other')
  const job = await enqueue(acme)
  await ended('completed', 1)
  const [delivery] = (await get('/api/deliveries', acme)).items
  expect(delivery).toMatchObject({ endpoint: 'a', about: job })
  expect((await get(`/api/deliveries?about=${job}`, other)).items).toEqual([])

  shop.answers({ status: 500 })
  const late = await enqueue(acme)
  await ended('retryable', 1)
  await call('DELETE', '/api/endpoints/a', { key: acme })
  await known(() => post('/api/endpoints', { name: 'a', url: theirs.url }, other))
  await database.passTime()
  await ended('failed', 1)
  expect((await get(`/api/deliveries?about=${late}`)).items[0]).toMatchObject({ code: 'no_endpoint', status: null })
  expect((await get('/api/endpoints/a/deliveries', other)).items).toEqual([])
  expect((await post('/api/endpoints/a/redeliver', { failed_only: false }, other)).body.redelivered).toBe(0)
  expect(await post(`/api/deliveries/${delivery.job}/redeliver`, {}, other)).toMatchObject({ status: 404 })
  await post('/api/endpoints/a/test', {}, other)
  await theirs.received.first({})
  expect(theirs.received.all.map(({ text }) => JSON.parse(text).type)).toEqual(['webhook.test'])
})
