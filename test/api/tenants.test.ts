// Keys of one tenant: every route of the API, with what is another tenant's and with what there is not. Both are the same.

import { uniqueKey } from 'millrace'
import type { Scope } from 'millrace/api'
import { beforeEach, describe, expect, it } from 'vitest'
import { apiRoutes } from '../../core/api/app.ts'
import { tenantKey } from '../../core/tenant.ts'
import { useApi } from '../support/api.ts'
import { claimAll, close, completed, enqueue, fatal, only, running } from '../support/engine-database.ts'

const api = useApi()

const ACME = { metadata: { tenant: 'acme' } }
const OTHER = { metadata: { tenant: 'other' } }
const UNKNOWN = 999_999_999

let acme: string
let other: string

const keyOf = async (tenant: string, scopes: readonly Scope[] = ['enqueue', 'read', 'operate']) =>
  (await api.admin.apiKeys.create({ name: tenant, scopes, tenant })).key

beforeEach(async () => {
  acme = await keyOf('acme')
  other = await keyOf('other')
  for (const key of [acme, other]) await api.call('GET', '/api/jobs', { key })
})

const call = (method: string, path: string, body?: unknown, key = acme) =>
  api.call(method, path, { key, ...(body !== undefined && { body }) })

type Jobs = Record<'ended' | 'dead' | 'open' | 'available' | 'scheduled', string>

/** For each tenant a job in each state that verbs tell apart. */
async function jobsOf(...tenants: readonly (typeof ACME)[]): Promise<Jobs[]> {
  const claimed: Pick<Jobs, 'ended' | 'dead' | 'open'>[] = []
  for (const tenant of tenants) {
    const [ended, dead, open] = [await running(api, tenant), await running(api, tenant), await running(api, tenant)]
    await close(api, ended, completed)
    await close(api, dead, fatal)
    claimed.push({ ended: ended.id, dead: dead.id, open: open.id })
  }
  return Promise.all(
    tenants.map(async (tenant, n) => {
      const [available = ''] = await enqueue(api.sql, 1, tenant)
      const [scheduled = ''] = await enqueue(api.sql, 1, { ...tenant, delay_seconds: 600, unique_key: `key ${n}` })
      return { ...(claimed[n] as (typeof claimed)[number]), available, scheduled }
    }),
  )
}

const one = async (tenant: typeof ACME) => only(await jobsOf(tenant))
const both = async () => (await jobsOf(ACME, OTHER)) as [Jobs, Jobs]

const TABLES = [
  ...[
    'job_log',
    'outcome_log',
    'deferred',
    'dead_letter',
    'kept_event',
    'queue',
    'batch',
    'schedule',
    'endpoint',
    'unique_lock',
  ],
  ...['audit_log', 'api_key'],
]

/** All that a request could change. */
async function world(): Promise<string> {
  const parts = TABLES.map(name => `(select md5(string_agg(t::text, '' order by t::text)) from millrace.${name} t)`)
  const [row] = await api.sql.unsafe(
    `select concat_ws(' ', ${parts.map(part => `coalesce(${part}, '-')`).join(', ')}) as digest`,
  )
  return row?.digest
}

/** How each route that takes a tenant's key is asked about a job. Whoever adds a route with `tenants: 'own'` adds it here, or to LISTS. */
const ABOUT: Readonly<Record<string, (id: number) => { path: string; body?: unknown }>> = {
  'GET /api/jobs/:id': id => ({ path: `/api/jobs/${id}` }),
  'POST /api/jobs/:id/retry': id => ({ path: `/api/jobs/${id}/retry` }),
  'POST /api/jobs/:id/cancel': id => ({ path: `/api/jobs/${id}/cancel`, body: { reason: 'x' } }),
  'POST /api/jobs/:id/move': id => ({ path: `/api/jobs/${id}/move`, body: { queue: 'elsewhere' } }),
  'POST /api/jobs/retry': id => ({ path: '/api/jobs/retry', body: { ids: [id] } }),
  'POST /api/jobs/cancel': id => ({ path: '/api/jobs/cancel', body: { ids: [id] } }),
  'POST /api/jobs/move': id => ({ path: '/api/jobs/move', body: { ids: [id], queue: 'elsewhere' } }),
  'POST /api/jobs/:id/events/:name': id => ({ path: `/api/jobs/${id}/events/paid`, body: { action: 'complete' } }),
  'GET /api/jobs': id => ({ path: `/api/jobs?id=${id}&full=true` }),
  'GET /api/dead-letters': id => ({ path: `/api/dead-letters?id=${id}` }),
  'GET /api/dead-letters/:id': id => ({ path: `/api/dead-letters/${id}` }),
  'POST /api/dead-letters/retry': id => ({ path: '/api/dead-letters/retry', body: { filter: { ids: [id] } } }),
  'POST /api/dead-letters/purge': id => ({ path: '/api/dead-letters/purge', body: { filter: { ids: [id] } } }),
  'POST /api/dead-letters/:id/retry': id => ({ path: `/api/dead-letters/${id}/retry` }),
  'DELETE /api/dead-letters/:id': id => ({ path: `/api/dead-letters/${id}` }),
}

/** Those that are about no job: tested by name, below or with what they are about. */
const ELSEWHERE = ['POST /api/jobs']

const nameOf = ({ method, path }: { method: string; path: string }) => `${method} ${path}`
/** Endpoints and deliveries have tests of their own. */
const isOfWebhooks = (path: string) => /^\/api\/(endpoints|deliveries)/.test(path)
const ownRoutes = apiRoutes.filter(route => route.tenants === 'own' && !isOfWebhooks(route.path))

it('every route that takes such keys is tested here', () => {
  expect(ownRoutes.map(nameOf).sort()).toEqual([...Object.keys(ABOUT), ...ELSEWHERE].sort())
  expect(apiRoutes.filter(({ tenants }) => tenants === 'shared').map(nameOf)).toEqual(['GET /api/openapi.json'])
})

describe('a route that does not say how it treats tenants refuses them', () => {
  const refused = apiRoutes.filter(({ tenants }) => tenants === undefined)

  it.each(refused.map(route => ({ ...route, name: nameOf(route) })))('$name', async ({ method, path }) => {
    const concrete = path.replace(':id', '1').replace(':name', 'mails')
    const before = await world()
    const { status, body } = await call(method, concrete, method === 'POST' ? {} : undefined)
    expect({ status, code: body.error?.code }).toEqual({ status: 403, code: 'forbidden' })
    expect(await world()).toBe(before)
  })

  it('queues, schedules, batches, runtimes, keys, the audit log and follow-up problems are among them', () => {
    const areas = new Set(refused.map(({ path }) => path.split('/')[2]))
    const expected = [
      'queues',
      'kinds',
      'stats',
      'schedules',
      'batches',
      'runtimes',
      'keys',
      'audit',
      'follow-up-problems',
    ]
    expect([...areas]).toEqual(expect.arrayContaining(expected))
    expect(refused.map(nameOf)).toContain('GET /api/dead-letters/depth')
  })
})

describe('what is another tenant’s is answered like what is not there', () => {
  it.each(Object.entries(ABOUT))('%s', async (route, about) => {
    const theirs = await one(OTHER)
    const nobodys = await enqueue(api.sql)
    const [method = ''] = route.split(' ')
    const asked = async (id: number) => {
      const { path, body } = about(id)
      const answer = await call(method, path, body)
      return JSON.stringify({ status: answer.status, body: answer.body }).replaceAll(
        new RegExp(`(?<!\\d)${id}(?!\\d)`, 'g'),
        'ID',
      )
    }
    const before = await world()
    const unknown = await asked(UNKNOWN)
    for (const id of [...Object.values(theirs), ...nobodys]) expect(await asked(Number(id))).toBe(unknown)
    expect(await world()).toBe(before)
  })

  it.each(Object.entries(ABOUT))('but %s answers for its own', async (route, about) => {
    const [mine, theirs] = await both()
    const [method = ''] = route.split(' ')
    const id = Number(route.includes('dead-letters') || route.includes('retry') ? mine.dead : mine.scheduled)
    const { path, body } = about(id)
    const answer = await call(method, path, body)
    expect(answer.status).toBe(200)
    expect(JSON.stringify(answer.body)).not.toMatch(/not_found|"(retried|purged)":0|"items":\[\]/)
    for (const id of Object.values(theirs)) expect(JSON.stringify(answer.body)).not.toContain(`"id":${id},`)
  })

  it('waiting for it ends at once', async () => {
    const { open } = await one(OTHER)
    const began = performance.now()
    expect((await call('GET', `/api/jobs/${open}?wait_seconds=20`)).status).toBe(404)
    expect(performance.now() - began).toBeLessThan(5_000)
  })

  it('of many ids, each is told of by itself', async () => {
    const [mine, theirs] = await both()
    const ids = [mine.dead, theirs.dead, UNKNOWN].map(Number)
    const { items } = (await call('POST', '/api/jobs/retry', { ids })).body
    expect(items).toEqual([
      { id: ids[0], state: 'available', retried: true, problem: null },
      { id: ids[1], state: null, retried: false, problem: 'not_found' },
      { id: ids[2], state: null, retried: false, problem: 'not_found' },
    ])
    const cancelled = (await call('POST', '/api/jobs/cancel', { ids: [mine.available, theirs.available].map(Number) }))
      .body
    expect(cancelled.items).toEqual([{ id: Number(mine.available), state: 'cancelled', cancelled: true }])
  })
})

describe('lists', () => {
  it('have its own jobs, wherever they stand, page by page', async () => {
    const [mine, , more] = (await jobsOf(ACME, OTHER, ACME)) as [Jobs, Jobs, Jobs]
    const wanted = [...Object.values(mine), ...Object.values(more)].map(Number).sort((a, b) => b - a)
    const seen: number[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page: { items: { id: number }[]; cursor: string | null } = (
        await call('GET', `/api/jobs?limit=2${cursor && `&cursor=${cursor}`}`)
      ).body
      seen.push(...page.items.map(({ id }) => id))
      cursor = page.cursor
    }
    expect(seen).toEqual(wanted)
    expect((await call('GET', '/api/jobs?state=failed')).body.items).toHaveLength(2)
    expect((await call('GET', '/api/dead-letters')).body.items).toHaveLength(2)
    expect((await call('GET', '/api/jobs', undefined, other)).body.items).toHaveLength(5)
  })

  it('keep to it when they are turned over to the archive', async () => {
    await api.sql`insert into millrace.queue (name, retention_seconds) values ('default', 8640000)`
    const [mine, theirs] = await both()
    await claimAll(api)
    await api.prune()
    expect((await call('GET', '/api/jobs?state=completed')).body.items).toMatchObject([{ id: Number(mine.ended) }])
    expect((await call('GET', `/api/jobs/${mine.ended}`)).status).toBe(200)
    expect((await call('GET', `/api/jobs/${theirs.ended}`)).status).toBe(404)
  })

  it('of another tenant are refused; keys of none may ask for any', async () => {
    await one(ACME)
    for (const path of ['/api/jobs', '/api/dead-letters']) {
      expect(await call('GET', `${path}?tenant=other`)).toMatchObject({
        status: 403,
        body: { error: { code: 'forbidden' } },
      })
      expect((await call('GET', `${path}?tenant=acme`)).status).toBe(200)
      expect((await api.call('GET', `${path}?tenant=acme`)).body.items.length).toBeGreaterThan(0)
      expect((await api.call('GET', `${path}?tenant=other`)).body.items).toEqual([])
    }
  })

  it('all dead letters means all of its own, and has to be said', async () => {
    const [mine, theirs] = await both()
    for (const verb of ['retry', 'purge']) {
      for (const filter of [{}, { all: false }, { all: true, queue: 'default' }]) {
        expect((await call('POST', `/api/dead-letters/${verb}`, { filter })).status).toBe(400)
      }
      expect((await call('POST', `/api/dead-letters/${verb}`, { filter: { tenant: 'other' } })).status).toBe(403)
    }
    expect((await call('POST', '/api/dead-letters/retry', { filter: { all: true } })).body).toEqual({
      retried: 1,
      refused: [],
    })
    expect((await call('GET', `/api/jobs/${mine.dead}`)).body.state).toBe('available')
    expect((await call('GET', `/api/jobs/${theirs.dead}`, undefined, other)).body.state).toBe('failed')
    expect((await call('POST', '/api/dead-letters/purge', { filter: { all: true } }, other)).body).toEqual({
      purged: 1,
    })
  })
})

describe('enqueueing', () => {
  const post = (body: unknown, key = acme, headers = {}) => api.call('POST', '/api/jobs', { body, key, headers })
  const metadataOf = async (id: number) => (await api.call('GET', `/api/jobs/${id}`)).body.metadata

  it('makes the job the tenant’s, whatever the request says', async () => {
    for (const given of [{}, { tenant: 'acme' }, { metadata: { tenant: 'acme', a: 1 } }, { metadata: { a: 1 } }]) {
      const { status, body } = await post({ kind: 'a', ...given })
      expect(status).toBe(201)
      expect(await metadataOf(body.id)).toEqual({ ...(given as { metadata?: object }).metadata, tenant: 'acme' })
    }
  })

  it('for another one is refused, all or nothing', async () => {
    const before = await world()
    const given = [
      { tenant: 'other' },
      { metadata: { tenant: 'other' } },
      { metadata: { tenant: null } },
      { metadata: { tenant: 5 } },
    ]
    for (const one of [...given, { tenant: 'acme', metadata: { tenant: 'other' } }]) {
      for (const body of [{ kind: 'a', ...one }, { jobs: [{ kind: 'a' }, { kind: 'a', ...one }] }]) {
        expect(await post(body)).toMatchObject({ status: 403, body: { error: { code: 'forbidden' } } })
      }
    }
    expect(await world()).toBe(before)
  })

  it('does not get round follow-ups of every kind by saying that it follows something', async () => {
    for (const follows of [{}, null, { job_id: 1 }]) {
      expect((await post({ kind: 'a', metadata: { follows } })).body.error?.code).toBe('forbidden')
    }
  })

  it('keys of no tenant may name any', async () => {
    const { body } = await api.call('POST', '/api/jobs', { body: { kind: 'a', tenant: 'acme', unique: { key: 'k' } } })
    expect((await call('GET', `/api/jobs/${body.id}`)).body).toMatchObject({
      metadata: ACME.metadata,
      unique_key: 'tenant:acme:k',
    })
    const both = { kind: 'a', tenant: 'acme', metadata: { tenant: 'other' } }
    expect((await api.call('POST', '/api/jobs', { body: both })).body.error?.code).toBe('invalid_metadata')
  })

  it.each([
    ['unique by its arguments', { unique: true }],
    ['by a key', { unique: { key: 'order 1' } }],
    ['by a key that is refused when taken', { unique: { key: 'order 1', on_conflict: 'error' } }],
    ['by a key that replaces', { unique: { key: 'order 1', on_conflict: 'replace' } }],
    ['debounced', { debounce: { seconds: 60 } }],
    ['throttled', { throttle: { seconds: 60, key: 'k' } }],
  ])('%s, tenants neither find nor block nor replace each other’s', async (_, options) => {
    const body = { kind: 'a', args: { n: 1 }, ...options }
    const theirs = await post(body, other)
    const operators = await api.call('POST', '/api/jobs', { body })
    const mine = await post(body)
    for (const { status, body } of [theirs, operators, mine]) {
      expect({ status, body }).toMatchObject({ status: 201, body: { existing: false, replaced: false } })
    }
    expect(new Set([theirs, operators, mine].map(({ body }) => body.id)).size).toBe(3)
    const again = await post(body)
    if (again.status === 409) expect(again.body.error?.message).toContain(String(mine.body.id))
    else expect(again.body).toMatchObject({ id: mine.body.id, existing: true })
    expect((await api.call('GET', `/api/jobs/${theirs.body.id}`)).body).toMatchObject({
      metadata: OTHER.metadata,
      attempt: 1,
    })
  })

  it('names no key of another tenant’s, however it spells it', async () => {
    const theirs = await post({ kind: 'a', unique: { key: 'k' } }, other)
    for (const key of ['tenant:other:k', tenantKey('other', 'k'), 'k', `tenant:acme/../other:k`]) {
      expect((await post({ kind: 'a', unique: { key } })).body).toMatchObject({ existing: false })
      expect((await call('GET', `/api/jobs?unique_key=${encodeURIComponent(key)}`)).body.items).toMatchObject([
        { kind: 'a' },
      ])
      expect((await call('POST', '/api/jobs/cancel', { unique_key: key })).body.items).toMatchObject([
        { cancelled: true },
      ])
    }
    expect((await api.call('GET', `/api/jobs/${theirs.body.id}`)).body.state).toBe('available')
  })

  it('with an Idempotency-Key that another tenant uses, too, makes a job of its own', async () => {
    const key = 'x'.repeat(180)
    const headers = { 'idempotency-key': key }
    const theirs = await post({ kind: 'a' }, other, headers)
    const operators = await api.call('POST', '/api/jobs', { body: { kind: 'a' }, headers })
    const mine = await post({ kind: 'b' }, acme, headers)
    expect(mine).toMatchObject({ status: 201, body: { existing: false } })
    expect(new Set([theirs.body.id, operators.body.id, mine.body.id]).size).toBe(3)
    expect((await post({ kind: 'b' }, acme, headers)).body).toMatchObject({ id: mine.body.id, existing: true })
    expect(await post({ kind: 'c' }, acme, headers)).toMatchObject({
      status: 409,
      body: { error: { code: 'idempotency_conflict' } },
    })
  })

  it('a job that SQL has put under the tenant’s key without the tenant is not cancelled by it', async () => {
    const [id] = await enqueue(api.sql, 1, { ...OTHER, unique_key: 'tenant:acme:k' })
    expect((await call('POST', '/api/jobs/cancel', { unique_key: 'k' })).body).toEqual({ items: [] })
    expect((await api.call('GET', `/api/jobs/${id}`)).body.state).toBe('available')
  })
})

it('a key needs its scope as well', async () => {
  const reader = (await api.admin.apiKeys.create({ name: 'reader', scopes: ['read'], tenant: 'acme' })).key
  const [id] = await enqueue(api.sql, 1, ACME)
  expect((await call('GET', `/api/jobs/${id}`, undefined, reader)).status).toBe(200)
  expect((await call('POST', `/api/jobs/${id}/cancel`, {}, reader)).status).toBe(403)
  expect((await call('POST', '/api/jobs', { kind: 'a' }, reader)).status).toBe(403)
})

it('a job without metadata, and one of the built-in kinds, are no tenant’s', async () => {
  await enqueue(api.sql, 3)
  await api.admin.endpoints.create({ name: 'acme', url: 'https://example.com', tenant: 'acme' })
  await api.admin.endpoints.test('acme')
  expect((await call('GET', '/api/jobs')).body.items).toEqual([])
  expect(await claimAll(api)).toHaveLength(4)
})

it('keys of a tenant are its own, and no two of different ones are the same', () => {
  const tenants = ['a', 'a:b', 'b', 'a/b', 'A', 'é', 'x'.repeat(200), 'x'.repeat(199), '#', '%', '%3A']
  const keys = ['k', 'b:k', ':', 'k'.repeat(200), 'k'.repeat(199), uniqueKey({ kind: 'a' }), '#k', 'tenant:a:k']
  const made = tenants.flatMap(tenant => keys.map(key => [tenant, tenantKey(tenant, key)] as const))
  for (const [, key] of made) expect([...key].length).toBeLessThanOrEqual(200)
  const owners = Map.groupBy(made, ([, key]) => key)
  for (const [, of] of owners) expect(new Set(of.map(([tenant]) => tenant)).size).toBe(1)
  expect(owners.size).toBe(made.length - 1) // a: both spellings of k
  expect(tenantKey('acme', tenantKey('acme', 'k'))).toBe('tenant:acme:k')
})
