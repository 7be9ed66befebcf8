// Endpoints and deliveries over the API: what is refused, whose they are, and that every answer is as the document says.

import { defineManifest, syncManifest } from 'millrace'
import { apiApp } from 'millrace/api'
import { generateWebhookSecret } from 'millrace/protocol'
import { beforeEach, describe, expect, it } from 'vitest'
import { apiRoutes } from '../../core/api/app.ts'
import { apiKeys, KEYS, makeApi, neverDone, useApi } from '../support/api.ts'
import { claimAll, only, ref } from '../support/engine-database.ts'

const api = useApi()
const url = 'https://shop.example/hooks'

const call = (method: string, path: string, body?: unknown, key: string = KEYS.all) =>
  api.call(method, path, { key, ...(body !== undefined && { body }) })
const post = (path: string, body?: unknown, key?: string) => call('POST', path, body, key)
const get = async (path: string, key?: string) => (await call('GET', path, undefined, key)).body
const create = async (name: string, more: object = {}, key?: string) =>
  (await post('/api/endpoints', { name, url, ...more }, key)).body
const namesOf = ({ items }: { items: { name: string }[] }) => items.map(({ name }) => name)
const refused = (status: number, code: string) => ({ status, body: { error: { code } } })

/** A test event that has failed; answers its job. */
async function failedDelivery(name: string): Promise<number> {
  const { job } = (await post(`/api/endpoints/${encodeURIComponent(name)}/test`)).body
  const claimed = only(await claimAll(api))
  const outcome = { kind: 'failed', error: { code: 'http_500', message: 'no' }, retryable: false } as const
  const report = { endpoint: name, message: `msg_${job}`, event: 'webhook.test', status: 500, latency_ms: 3 }
  await api.engine.deliver([{ ...ref(claimed), outcome, report }])
  return job
}

describe('endpoints', () => {
  it('are made, listed, shown, changed and deleted, whatever their names', async () => {
    for (const name of ['shop', 'a/b', 'ä ?#%2F', 'x'.repeat(200)]) {
      const path = `/api/endpoints/${encodeURIComponent(name)}`
      const made = await create(name, { kinds: ['a'], events: ['failed'], description: 'the shop', tenant: 'acme' })
      const { secret, ...view } = made
      expect(secret).toMatch(/^whsec_/)
      expect(await get(path)).toEqual(view)
      const changes = { kinds: null, tenant: null, description: null, url: `${url}/2`, events: ['waiting', 'retried'] }
      expect((await post(path, changes)).body).toEqual({ ...view, ...changes })
      expect((await post(path, {})).body).toEqual({ ...view, ...changes })
      expect((await call('DELETE', path)).body).toEqual({ deleted: true })
      expect((await call('GET', path)).status).toBe(404)
    }
  })

  it('are listed by name, page by page, and by what they are', async () => {
    const names = ['a', 'b', 'x'.repeat(200), 'y'.repeat(200)]
    for (const name of names) await create(name, name === 'b' ? { tenant: 'acme' } : {})
    await post('/api/endpoints/a/disable')
    const seen: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page: Awaited<ReturnType<typeof get>> = await get(`/api/endpoints?limit=1${cursor && `&cursor=${cursor}`}`)
      seen.push(...namesOf(page))
      cursor = page.cursor
    }
    expect(seen).toEqual(names)
    expect(namesOf(await get('/api/endpoints?tenant=acme'))).toEqual(['b'])
    expect(namesOf(await get('/api/endpoints?state=disabled'))).toEqual(['a'])
    expect(namesOf(await get('/api/endpoints?source=shop'))).toEqual([])
  })

  it('are switched off and on, and say so', async () => {
    await create('shop')
    expect((await post('/api/endpoints/shop/disable')).body).toMatchObject({
      ...{ state: 'disabled', disabled_reason: 'operator', disabled_at: expect.any(String) },
    })
    expect(await post('/api/endpoints/shop/test')).toMatchObject(refused(409, 'endpoint_disabled'))
    expect((await post('/api/endpoints/shop/enable')).body).toMatchObject({ state: 'enabled', disabled_at: null })
    expect((await post('/api/endpoints/shop/test')).status).toBe(201)
  })

  it('have a name of their own', async () => {
    await create('shop')
    expect(await post('/api/endpoints', { name: 'shop', url })).toMatchObject(refused(409, 'endpoint_exists'))
  })

  it.each([
    ['invalid_request', {}],
    ['invalid_request', { name: '', url }],
    ['invalid_request', { name: 'shop', url, events: ['finished'] }],
    ['invalid_request', { name: 'shop', url, secret: generateWebhookSecret() }],
    ['invalid_request', { name: 'shop', url, signature: 'v2' }],
    ['invalid_endpoint', { name: 'shop', url, events: [] }],
    ['invalid_endpoint', { name: 'shop', url, kinds: [] }],
    ['invalid_endpoint', { name: 'shop', url, tenant: '' }],
    ['invalid_endpoint', { name: 'shop', url, description: 'x'.repeat(1_001) }],
    ['invalid_endpoint', { name: 'shop', url: `${url}/${'x'.repeat(2_000)}` }],
  ])('are refused with %s: %j', async (code, body) => {
    expect(await post('/api/endpoints', body)).toMatchObject(refused(400, code))
    expect(namesOf(await get('/api/endpoints'))).toEqual([])
  })

  it.each([
    ...['', 'shop.example/hooks', '/hooks', 'ftp://shop.example/', 'https://', 'javascript:alert(1)', 'file:///etc'],
    ...['https://ann:secret@shop.example/', 'https://ann@shop.example/', 'http://shop.example/hooks'],
    ...['https://127.0.0.1/', 'https://127.1/', 'https://0x7f000001/', 'https://[::1]/', 'https://localhost/'],
    ...['https://10.1.2.3/', 'https://192.168.0.1:8443/', 'https://172.16.0.1/', 'https://[fd00::1]/'],
    ...['https://169.254.169.254/latest/meta-data/', 'https://[::ffff:169.254.169.254]/', 'https://db.internal/'],
    ...['https://0.0.0.0/', 'https://[64:ff9b::a00:1]/', 'https://printer.local/', 'https://100.64.0.1/'],
  ])('do not go to %s', async given => {
    expect(await post('/api/endpoints', { name: 'evil', url: given })).toMatchObject(refused(400, 'invalid_endpoint'))
    await create('shop')
    expect(await post('/api/endpoints/shop', { url: given })).toMatchObject(refused(400, 'invalid_endpoint'))
    expect(await get('/api/endpoints')).toMatchObject({ items: [{ name: 'shop', url }] })
  })

  it('go where the deployment lets them', async () => {
    const open = makeApi({ sql: api.sql, allowTargets: ['http', '10.1.0.0/16'] })
    const made = async (url: string) => (await open.call('POST', '/api/endpoints', { body: { name: url, url } })).status
    expect(await made('http://shop.example/')).toBe(201)
    expect(await made('http://10.1.2.3/')).toBe(201)
    expect(await made('https://10.2.2.3/')).toBe(400)
  })

  it('that a manifest declares are changed there, but switched off and on and tried here, too', async () => {
    const subscriptions = [{ name: 'shop', url, secret: generateWebhookSecret() }]
    await syncManifest(api.sql, defineManifest({ subscriptions }), { source: 'billing' })
    const declared = refused(409, 'endpoint_declared')
    expect(await post('/api/endpoints/shop', { url: `${url}/2` })).toMatchObject(declared)
    expect(await post('/api/endpoints/shop/rotate-secret')).toMatchObject(declared)
    expect(await call('DELETE', '/api/endpoints/shop')).toMatchObject(declared)
    expect((await post('/api/endpoints/shop/disable')).body).toMatchObject({ state: 'disabled', source: 'billing' })
    expect((await post('/api/endpoints/shop/enable')).body).toMatchObject({ state: 'enabled' })
    expect((await post('/api/endpoints/shop/test')).status).toBe(201)
    expect(namesOf(await get('/api/endpoints?source=billing'))).toEqual(['shop'])
  })

  it('cannot be had from an API that is configured wrong', () => {
    const made = (options: object) => () => apiApp({ sql: api.sql, apiKeys, ...options })
    expect(made({ allowTargets: ['10.1.0.0/99'] })).toThrow(expect.objectContaining({ code: 'invalid_configuration' }))
    expect(made({ sealingKeys: 'k1:short' })).toThrow(expect.objectContaining({ code: 'invalid_keyring' }))
  })
})

describe('deliveries', () => {
  it('are listed by what they are, page by page', async () => {
    await create('shop')
    await create('other')
    const [a, b, c] = [await failedDelivery('shop'), await failedDelivery('shop'), await failedDelivery('other')]
    const jobsOf = async (path: string) => (await get(path)).items.map(({ job }: { job: number }) => job)
    expect(await jobsOf('/api/deliveries')).toEqual([c, b, a])
    expect(await jobsOf('/api/deliveries?endpoint=shop&state=failed')).toEqual([b, a])
    expect(await jobsOf(`/api/endpoints/shop/deliveries?job=${a}`)).toEqual([a])
    expect(await jobsOf('/api/endpoints/shop/deliveries?until=2020-01-01T00:00:00Z')).toEqual([])
    expect(await jobsOf('/api/deliveries?since=2020-01-01T00:00:00Z&state=delivered')).toEqual([])
    const { cursor } = await get('/api/deliveries?limit=2')
    expect(await jobsOf(`/api/deliveries?limit=2&cursor=${cursor}`)).toEqual([a])
    expect(await call('GET', '/api/deliveries?cursor=x')).toMatchObject(refused(400, 'invalid_request'))
    expect(await call('GET', '/api/deliveries?since=yesterday')).toMatchObject(refused(400, 'invalid_request'))
  })

  it('under way are not sent again', async () => {
    await create('shop')
    const { job } = (await post('/api/endpoints/shop/test')).body
    expect(await post(`/api/deliveries/${job}/redeliver`)).toMatchObject(refused(409, 'not_retryable'))
  })

  it('of an endpoint that is gone are not sent again; of a job that is none neither', async () => {
    await create('shop')
    const job = await failedDelivery('shop')
    await call('DELETE', '/api/endpoints/shop')
    expect(await post(`/api/deliveries/${job}/redeliver`)).toMatchObject(refused(404, 'not_found'))
    const { id } = (await post('/api/jobs', { kind: 'a' })).body
    expect(await post(`/api/deliveries/${id}/redeliver`)).toMatchObject(refused(404, 'not_found'))
  })
})

/** How each route is asked about an endpoint or a delivery. */
const ABOUT: Readonly<Record<string, (name: string, job: number) => { path: string; body?: unknown }>> = {
  'GET /api/endpoints/:name': name => ({ path: `/api/endpoints/${name}` }),
  'POST /api/endpoints/:name': name => ({ path: `/api/endpoints/${name}`, body: { description: 'mine' } }),
  'DELETE /api/endpoints/:name': name => ({ path: `/api/endpoints/${name}` }),
  ...Object.fromEntries(
    ['rotate-secret', 'enable', 'disable', 'test', 'redeliver'].map(verb => [
      `POST /api/endpoints/:name/${verb}`,
      (name: string) => ({ path: `/api/endpoints/${name}/${verb}`, body: {} }),
    ]),
  ),
  'GET /api/endpoints/:name/deliveries': name => ({ path: `/api/endpoints/${name}/deliveries` }),
  'POST /api/deliveries/:job/redeliver': (_, job) => ({ path: `/api/deliveries/${job}/redeliver` }),
  'GET /api/deliveries': (name, job) => ({ path: `/api/deliveries?endpoint=${name}&job=${job}` }),
}

describe('a key of one tenant', () => {
  let acme: string
  beforeEach(async () => {
    const scopes = ['enqueue', 'read', 'operate'] as const
    acme = (await api.admin.apiKeys.create({ name: 'acme', scopes, tenant: 'acme' })).key
    await get('/api/endpoints', acme)
  })

  const world = async () => {
    const tables = ['endpoint', 'endpoint_secret', 'delivery', 'job_log', 'dead_letter', 'audit_log']
    const parts = tables.map(name => `(select string_agg(t::text, '' order by t::text) from millrace.${name} t)`)
    const [row] = await api.sql.unsafe(`select md5(concat_ws(' ', ${parts.join(', ')})) as digest`)
    return row?.digest
  }

  it('has every route tested here', () => {
    const routes = apiRoutes.filter(({ path }) => /^\/api\/(endpoints|deliveries)/.test(path))
    expect(routes.every(({ tenants }) => tenants === 'own')).toBe(true)
    const names = routes.map(({ method, path }) => `${method} ${path}`)
    expect(names.sort()).toEqual([...Object.keys(ABOUT), 'GET /api/endpoints', 'POST /api/endpoints'].sort())
  })

  it.each(Object.entries(ABOUT))('finds nothing of others: %s', async (route, about) => {
    await create('theirs', { tenant: 'other' })
    await create('nobodys')
    const [theirs, nobodys] = [await failedDelivery('theirs'), await failedDelivery('nobodys')]
    const [method = ''] = route.split(' ')
    const asked = async (name: string, job: number) => {
      const { path, body } = about(name, job)
      const answer = await call(method, path, body, acme)
      return { status: answer.status, body: answer.body }
    }
    const before = await world()
    const unknown = await asked('unknown', 987_654)
    expect(await asked('theirs', theirs)).toEqual(unknown)
    expect(await asked('nobodys', nobodys)).toEqual(unknown)
    expect(await world()).toBe(before)
  })

  it.each(Object.entries(ABOUT))('has its own: %s', async (route, about) => {
    expect(await create('mine', {}, acme)).toMatchObject({ tenant: 'acme' })
    const job = await failedDelivery('mine')
    const [method = ''] = route.split(' ')
    const { path, body } = about('mine', job)
    const answer = await call(method, path, body, acme)
    expect([200, 201]).toContain(answer.status)
    expect(JSON.stringify(answer.body)).not.toMatch(/"items":\[\]|"redelivered":0/)
  })

  it('makes and lists its own only, and gives none away', async () => {
    await create('theirs', { tenant: 'other' })
    await create('mine', { tenant: null }, acme)
    expect(await get('/api/endpoints', acme)).toMatchObject({ items: [{ name: 'mine', tenant: 'acme' }] })
    const forbidden = refused(403, 'forbidden')
    expect(await post('/api/endpoints', { name: 'x', url, tenant: 'other' }, acme)).toMatchObject(forbidden)
    for (const tenant of ['other', null]) {
      expect(await post('/api/endpoints/mine', { tenant }, acme)).toMatchObject(forbidden)
    }
    for (const path of ['/api/endpoints', '/api/deliveries']) {
      expect(await call('GET', `${path}?tenant=other`, undefined, acme)).toMatchObject(forbidden)
    }
    expect((await post('/api/endpoints/mine', { tenant: 'acme' }, acme)).status).toBe(200)
  })
})

it('does all of this, and answers as the document says', () => {
  expect(neverDone(path => /^\/api\/(endpoints|deliveries)/.test(path))).toEqual([])
})
