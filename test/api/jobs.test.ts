// Jobs over the admin API: enqueue with every option, look, wait, retry, cancel, move, page through lists.

import { describe, expect, it, vi } from 'vitest'
import { KEYS, neverDone, useApi } from '../support/api.ts'
import { claimAll, close, completed, enqueue, failed, fatal, only, running, view } from '../support/engine-database.ts'

const api = useApi()
const { call } = api

const post = (body: unknown, headers: Record<string, string> = {}) => call('POST', '/api/jobs', { body, headers })

describe('enqueueing', () => {
  it('takes a kind alone', async () => {
    const { status, body } = await post({ kind: 'resize' })
    expect({ status, body }).toEqual({
      status: 201,
      body: { id: expect.any(Number), existing: false, replaced: false },
    })
    expect(await view(api, String(body.id))).toMatchObject({
      kind: 'resize',
      args: {},
      queue: 'default',
      state: 'available',
    })
  })

  it('takes every option', async () => {
    const given = {
      ...{ kind: 'resize', args: { n: [1.5, null, 'ä'] }, queue: 'images', priority: 1, max_attempts: 7 },
      ...{ run_at: '2099-01-31T12:00:00+01:00', tags: ['a', 'b"\\'], metadata: { tenant: 'x' } },
      ...{ ordering_key: 'o', rate_key: 'r', unique: { key: 'once', states: ['scheduled'], on_conflict: 'error' } },
    }
    const { id } = (await post(given)).body
    expect((await call('GET', `/api/jobs/${id}`)).body).toMatchObject({
      ...{ id, kind: 'resize', args: given.args, queue: 'images', priority: 1, max_attempts: 7, state: 'scheduled' },
      ...{ run_at: '2099-01-31T11:00:00+00:00', tags: given.tags, metadata: given.metadata, unique_key: 'once' },
      attempts: [],
    })
    const [row] = await api.sql`select rate_key from millrace.deferred where id = ${id}`
    expect(row?.rate_key).toBe('r')
    expect(await post(given)).toMatchObject({ status: 409, body: { error: { code: 'unique_conflict' } } })
  })

  it('keeps whole numbers beyond those of doubles, and tells them', async () => {
    const args = '{"id":12345678901234567890}'
    const { id } = (await post(`{"kind":"resize","args":${args}}`)).body
    for (const path of [`/api/jobs/${id}`, `/api/jobs?id=${id}&full=true`]) {
      const response = await api.app.request(path, { headers: { authorization: `Bearer ${KEYS.all}` } })
      expect(await response.text()).toContain(`"args":${args}`)
    }
  })

  it('takes many, all or none', async () => {
    const { body } = await post({
      jobs: [{ kind: 'a' }, { kind: 'b', delay_seconds: 60 }, { kind: 'c', unique: true }],
    })
    expect(body.items).toHaveLength(3)
    const ids = body.items.map(({ id }: { id: number }) => id)
    expect(ids).toEqual([...ids].sort((a, b) => a - b))
    const refused = await post({ jobs: [{ kind: 'd' }, { kind: 'millrace.webhook' }] })
    expect(refused).toMatchObject({ status: 400, body: { error: { code: 'invalid_kind', hint: expect.any(String) } } })
    expect(refused.body.error?.message).toMatch(/^job 2 /)
    expect((await call('GET', '/api/jobs')).body.items).toHaveLength(3)
  })

  it('knows unique, debounced and throttled jobs', async () => {
    const unique = { kind: 'import', args: { feed: 1 }, unique: true }
    const first = (await post(unique)).body
    expect((await post(unique)).body).toEqual({ id: first.id, existing: true, replaced: false })
    const debounce = { kind: 'index', debounce: { key: 'd', seconds: 60 } }
    const early = (await post({ ...debounce, args: { n: 1 } })).body
    expect((await post({ ...debounce, args: { n: 2 } })).body).toEqual({ id: early.id, existing: true, replaced: true })
    expect(await view(api, String(early.id))).toMatchObject({ args: { n: 2 }, state: 'scheduled' })
    const throttle = { kind: 'mail', throttle: { seconds: 60, by_args: false } }
    const { id } = (await post({ ...throttle, args: 1 })).body
    expect((await post({ ...throttle, args: 2 })).body).toMatchObject({ id, existing: true })
    expect((await post({ kind: 'mail', unique: { by_queue: true, period_seconds: 60 } })).body.existing).toBe(false)
  })

  it.each([
    ['invalid_kind', {}],
    ['invalid_request', []],
    ['invalid_request', { kind: 'a', colour: 'red' }],
    ['invalid_request', { jobs: [] }],
    ['invalid_request', { jobs: [{ kind: 'a' }], kind: 'b' }],
    ['invalid_request', '{'],
    ['invalid_request', '{"kind":"a","args":"\\u0000"}'],
    ['invalid_request', '{"kind":"a","args":1e999}'],
    ['invalid_request', `{"kind":"a","args":${'['.repeat(200)}${']'.repeat(200)}}`],
    ['invalid_kind', { kind: '' }],
    ['invalid_kind', { kind: 'millrace.webhook' }],
    ['invalid_queue', { kind: 'a', queue: '' }],
    ['invalid_priority', { kind: 'a', priority: 5 }],
    ['invalid_priority', { jobs: [{ kind: 'a', priority: '1' }] }],
    ['invalid_max_attempts', { kind: 'a', max_attempts: 0 }],
    ['invalid_run_at', { kind: 'a', run_at: 'soon' }],
    ['invalid_run_at', { kind: 'a', run_at: '2026-02-31T00:00:00' }],
    ['invalid_run_at', { kind: 'a', run_at: '2099-01-01T00:00:00Z', delay_seconds: 1 }],
    ['invalid_run_at', { kind: 'a', delay_seconds: -1 }],
    ['invalid_run_at', { kind: 'a', delay_seconds: 1e300 }],
    ['invalid_tags', { kind: 'a', tags: [''] }],
    ['invalid_tags', { kind: 'a', tags: Array.from({ length: 5 }, () => 'x'.repeat(1000)) }],
    ['invalid_metadata', { kind: 'a', metadata: [] }],
    ['invalid_metadata', { kind: 'a', metadata: { 'millrace:x': 1 } }],
    ['invalid_ordering_key', { kind: 'a', ordering_key: '' }],
    ['invalid_rate_key', { kind: 'a', rate_key: 1 }],
    ['invalid_unique', { kind: 'a', unique: { key: '' } }],
    ['invalid_unique', { kind: 'a', unique: { states: ['done'] } }],
    ['invalid_unique', { kind: 'a', unique: true, throttle: { seconds: 1 } }],
    ['invalid_unique', { kind: 'a', debounce: { seconds: 0 } }],
    ['payload_too_large', { kind: 'a', args: 'x'.repeat(1_100_000) }],
  ])('refuses with %s, %#', async (code, body) => {
    const answer = await post(body)
    expect(answer).toMatchObject({ status: code === 'payload_too_large' ? 413 : 400, body: { error: { code } } })
    expect(answer.body.error?.message).not.toMatch(/select|constraint|syntax|function/)
    expect((await call('GET', '/api/jobs')).body.items).toEqual([])
  })
})

describe('Idempotency-Key', () => {
  const key = (value: string) => ({ 'idempotency-key': value })

  it('makes of many equal requests, also at once, one job, whatever has become of it', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => post({ kind: 'pay', args: { b: 1, a: 2 } }, key('order-1'))),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]))
    const { id } = answers[0]?.body ?? {}
    expect(new Set(answers.map(({ body }) => body.id))).toEqual(new Set([id]))
    expect(answers.filter(({ body }) => !body.existing)).toHaveLength(1)
    await close(api, only(await claimAll(api)), fatal)
    expect((await post({ kind: 'pay', args: { a: 2, b: 1 } }, key('order-1'))).body).toMatchObject({
      id,
      existing: true,
    })
    expect((await post({ kind: 'pay', args: { a: 2, b: 1 } }, key('order-2'))).body).toMatchObject({ existing: false })
  })

  it('is for many jobs too', async () => {
    const jobs = Array.from({ length: 20 }, (_, n) => ({ kind: 'pay', args: { n } }))
    const answers = await Promise.all(Array.from({ length: 5 }, () => post({ jobs }, key('all'))))
    const ids = answers.map(({ body }) => body.items.map(({ id }: { id: number }) => id))
    expect(new Set(ids.map(String)).size).toBe(1)
    expect((await call('GET', '/api/jobs?limit=1000')).body.items).toHaveLength(20)
  })

  it('refuses another job under the same key, keys that are none, and a second way of being unique', async () => {
    await post({ kind: 'pay', args: { n: 1 } }, key('k'))
    expect((await post({ kind: 'pay', args: { n: 2 } }, key('k'))).body.error?.code).toBe('idempotency_conflict')
    expect((await post({ kind: 'owe', args: { n: 1 } }, key('k'))).status).toBe(409)
    expect((await post({ kind: 'pay' }, key('a b'))).body.error?.code).toBe('invalid_request')
    expect((await post({ kind: 'pay' }, key('x'.repeat(181)))).status).toBe(400)
    expect((await post({ kind: 'pay' }, key('x'.repeat(180)))).status).toBe(201)
    expect((await post({ kind: 'pay', unique: true }, key('l'))).body.error?.code).toBe('invalid_unique')
  })
})

describe('one job', () => {
  it('is there with its attempts, or is not there', async () => {
    const job = await running(api)
    await close(api, job, failed('no such host', 60_000))
    const { body } = await call('GET', `/api/jobs/${job.id}`)
    expect(body).toMatchObject({
      id: Number(job.id),
      state: 'retryable',
      attempts: [{ attempt: 1, state: 'retryable' }],
    })
    expect(await call('GET', '/api/jobs/999999')).toMatchObject({ status: 404, body: { error: { code: 'not_found' } } })
    expect(await call('GET', '/api/jobs/x')).toMatchObject({
      status: 400,
      body: { error: { code: 'invalid_request' } },
    })
    expect((await call('GET', `/api/jobs/${'9'.repeat(19)}`)).status).toBe(400)
  })

  it('can be waited for', async () => {
    const job = await running(api)
    const waiting = call('GET', `/api/jobs/${job.id}?wait_seconds=20`)
    await close(api, job, completed)
    expect((await waiting).body.state).toBe('completed')
    const other = await running(api)
    expect((await call('GET', `/api/jobs/${other.id}?wait_seconds=0.1`)).body.state).toBe('running')
    expect((await call('GET', '/api/jobs/999999?wait_seconds=20')).status).toBe(404)
    expect((await call('GET', `/api/jobs/${other.id}?wait_seconds=26`)).status).toBe(400)
  })

  it('is waited for no longer than its caller waits', async () => {
    const job = await running(api)
    const abort = new AbortController()
    const headers = { authorization: `Bearer mk_${'a'.repeat(43)}` }
    const answer = api.app.request(
      new Request(`http://x/api/jobs/${job.id}?wait_seconds=20`, { headers, signal: abort.signal }),
    )
    abort.abort()
    expect(await (await answer).json()).toMatchObject({ state: 'running' })
  })

  it('is retried, cancelled and moved', async () => {
    const job = await running(api)
    const id = Number(job.id)
    expect((await call('POST', `/api/jobs/${id}/retry`)).body.error?.code).toBe('not_retryable')
    expect((await call('POST', `/api/jobs/${id}/move`, { body: { priority: 2 } })).body.error?.code).toBe('not_movable')
    await close(api, job, fatal)
    expect((await call('POST', `/api/jobs/${id}/retry`, { body: {} })).body).toEqual({
      id,
      state: 'available',
      retried: true,
      problem: null,
    })
    const moved = await call('POST', `/api/jobs/${id}/move`, { body: { queue: 'slow', priority: 4 } })
    expect(moved.body).toEqual({ id, state: 'available', moved: true, problem: null })
    expect((await call('POST', `/api/jobs/${id}/cancel`, { body: { reason: 'enough' } })).body).toEqual({
      id,
      state: 'cancelled',
      cancelled: true,
    })
    expect((await call('POST', `/api/jobs/${id}/cancel`)).body).toEqual({ id, state: 'cancelled', cancelled: false })
    expect(await view(api, job.id)).toMatchObject({ queue: 'slow', priority: 4, errors: [{}, { message: 'enough' }] })
    for (const verb of ['retry', 'cancel', 'move']) {
      expect((await call('POST', `/api/jobs/999999/${verb}`)).body.error?.code).toBe('not_found')
    }
  })

  it('is not retried while another one has its unique key', async () => {
    const given = { kind: 'import', unique: { key: 'k' } }
    const { id } = (await post(given)).body
    await close(api, only(await claimAll(api)), fatal)
    await post(given)
    expect(await call('POST', `/api/jobs/${id}/retry`)).toMatchObject({
      status: 409,
      body: { error: { code: 'unique_conflict' } },
    })
  })
})

describe('jobs by ids', () => {
  it('are retried, cancelled and moved, each with an answer of its own', async () => {
    const [a, b] = (await enqueue(api.sql, 2)).map(Number) as [number, number]
    expect(
      (await call('POST', '/api/jobs/move', { body: { ids: [a, String(b)], queue: 'q' } })).body.items,
    ).toHaveLength(2)
    const cancelled = await call('POST', '/api/jobs/cancel', { body: { ids: [a, 999999] } })
    expect(cancelled.body.items).toEqual([{ id: a, state: 'cancelled', cancelled: true }])
    const retried = await call('POST', '/api/jobs/retry', { body: { ids: [a, b, 999999] } })
    expect(retried.body.items).toEqual([
      { id: a, state: 'available', retried: true, problem: null },
      { id: b, state: 'available', retried: false, problem: 'not_retryable' },
      { id: 999999, state: null, retried: false, problem: 'not_found' },
    ])
  })

  it('are cancelled by their unique key', async () => {
    const { id } = (await post({ kind: 'import', unique: { key: 'feed' } })).body
    const cancel = (unique_key: string) => call('POST', '/api/jobs/cancel', { body: { unique_key, reason: 'x' } })
    expect((await cancel('feed')).body.items).toEqual([{ id, state: 'cancelled', cancelled: true }])
    expect((await cancel('other')).body.items).toEqual([])
  })

  it.each([{}, { ids: [] }, { ids: ['x'] }, { ids: [1.5] }, { ids: [-1] }, { ids: 1 }, { ids: Array(1001).fill(1) }])(
    'are refused: %#',
    async body => {
      for (const verb of ['retry', 'cancel', 'move']) {
        expect((await call('POST', `/api/jobs/${verb}`, { body })).body.error?.code).toBe('invalid_request')
      }
    },
  )
})

describe('lists of jobs', () => {
  const list = async (query: string) => (await call('GET', `/api/jobs?${query}`)).body

  it('have pages, each job once', async () => {
    const ids = (await enqueue(api.sql, 25)).map(Number)
    const found: number[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page = await list(`limit=10${cursor && `&cursor=${cursor}`}`)
      found.push(...page.items.map(({ id }: { id: number }) => id))
      cursor = page.cursor
    }
    expect(found).toEqual(ids.reverse())
  })

  it('by everything there is', async () => {
    const [a, b] = (await enqueue(api.sql, 2, { queue: 'a' })).map(Number) as [number, number]
    const tagged = (await post({ kind: 'mail & co', tags: ['x=1'], unique: { key: 'k' }, delay_seconds: 60 })).body.id
    const of = async (query: string) => (await list(query)).items.map(({ id }: { id: number }) => id)
    expect(await of('queue=a')).toEqual([b, a])
    expect(await of(`kind=${encodeURIComponent('mail & co')}`)).toEqual([tagged])
    expect(await of('tag=x%3D1&state=scheduled')).toEqual([tagged])
    expect(await of('state=available&state=scheduled')).toEqual([tagged, b, a])
    expect(await of(`id=${a}&id=${tagged}`)).toEqual([tagged, a])
    expect(await of('unique_key=k')).toEqual([tagged])
    expect(await of('enqueued_after=2099-01-01T00:00:00Z')).toEqual([])
    expect(await of('enqueued_before=2099-01-01T00:00:00Z&queue=a')).toEqual([b, a])
    expect((await list(`full=true&id=${a}`)).items[0]).toMatchObject({ args: { n: 0 }, result: null })
  })

  it.each([
    ...['colour=red', 'limit=0', 'limit=1001', 'limit=x', 'limit=1&limit=2', 'state=done', 'full=yes', 'id=x'],
    ...['cursor=x', 'enqueued_after=soon', 'enqueued_after=2026-01-01', 'kind=%00', '__proto__=1', 'constructor=x'],
  ])('refuse %s', async query => {
    expect(await call('GET', `/api/jobs?${query}`)).toMatchObject({
      status: 400,
      body: { error: { code: 'invalid_request' } },
    })
  })
})

it('an event comes to a job, and is kept until somebody waits for it', async () => {
  const { body } = await post({ kind: 'a' })
  const answer = await call('POST', `/api/jobs/${body.id}/events/approval`, { body: { payload: { by: 'ann' } } })
  expect([answer.status, answer.body]).toEqual([200, { state: 'kept' }])
})

it('tells whoever runs it of every request, and never of a key', async () => {
  api.events.length = 0
  await post({ kind: 'a' })
  await call('GET', '/api/jobs/999999')
  await vi.waitFor(() => expect(api.events).toHaveLength(2))
  expect(api.events).toEqual([
    { method: 'POST', path: '/api/jobs', status: 201, ms: expect.any(Number) },
    { method: 'GET', path: '/api/jobs/:id', status: 404, ms: expect.any(Number), code: 'not_found', cause: undefined },
  ])
})

it('does all of this, and answers as the document says', () => {
  expect(neverDone(path => path.startsWith('/api/jobs'))).toEqual([])
})
