// The rest of the admin API: dead letters, queues, kinds, stats, schedules, batches, runtimes.

import { defineKind, defineManifest, defineQueue, defineSchedule, from, syncManifest } from 'millrace'
import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import { toSql } from '../../core/drivers.ts'
import { MaintenanceEngine } from '../../core/maintenance-engine.ts'
import { neverDone, useApi } from '../support/api.ts'
import {
  claimAll,
  close,
  completed,
  type EnqueueOptions,
  enqueue,
  failed,
  fatal,
  only,
  running,
  view,
} from '../support/engine-database.ts'

const api = useApi()
const { call } = api
const get = async (path: string) => (await call('GET', path)).body
const post = (path: string, body?: unknown) => call('POST', path, { body })

async function dead(options?: EnqueueOptions, kind?: string): Promise<number> {
  const job = await running(api, options, kind)
  await close(api, job, fatal)
  return Number(job.id)
}

const idsOf = ({ items }: { items: { id: number }[] }) => items.map(({ id }) => id)

describe('dead letters', () => {
  it('are listed, counted and shown', async () => {
    const a = await dead({ queue: 'a' })
    const b = await dead({ queue: 'b' }, 'mail')
    expect(idsOf(await get('/api/dead-letters'))).toEqual([b, a])
    expect(idsOf(await get('/api/dead-letters?queue=a'))).toEqual([a])
    expect(idsOf(await get('/api/dead-letters?kind=mail&reason=terminal_error'))).toEqual([b])
    expect(idsOf(await get(`/api/dead-letters?id=${a}&tag=x`))).toEqual([])
    const { cursor } = await get('/api/dead-letters?limit=1')
    expect(idsOf(await get(`/api/dead-letters?limit=1&cursor=${cursor}`))).toEqual([a])
    expect(await get('/api/dead-letters/depth')).toMatchObject({
      total: 2,
      lower_bound: false,
      queues: [{ queue: 'a' }, { queue: 'b' }],
    })
    expect(await get(`/api/dead-letters/${a}`)).toMatchObject({ id: a, reason: 'terminal_error', args: { n: 0 } })
    expect(await get(`/api/jobs/${a}`)).toMatchObject({ dead_letter: { reason: 'terminal_error' } })
    expect((await call('GET', '/api/dead-letters/999999')).status).toBe(404)
  })

  it('are retried and purged, one or all that match', async () => {
    const [a, b, c, d] = [await dead(), await dead(), await dead({ queue: 'q' }), await dead()]
    expect((await post(`/api/dead-letters/${a}/retry`, { queue: 'again', priority: 1 })).body).toEqual({ retried: 1 })
    expect(await view(api, String(a))).toMatchObject({ state: 'available', queue: 'again', priority: 1 })
    expect((await post(`/api/dead-letters/${a}/retry`)).body.error?.code).toBe('not_found')
    expect((await call('DELETE', `/api/dead-letters/${b}`)).body).toEqual({ purged: 1 })
    expect((await call('DELETE', `/api/dead-letters/${b}`)).status).toBe(404)
    expect((await post('/api/dead-letters/retry', { filter: { queue: 'q' } })).body).toEqual({
      retried: 1,
      refused: [],
    })
    expect((await post('/api/dead-letters/purge', { filter: { ids: [c] } })).body).toEqual({ purged: 0 })
    expect((await post('/api/dead-letters/purge', { filter: { all: true } })).body).toEqual({ purged: 1 })
    expect((await call('GET', `/api/dead-letters/${d}`)).status).toBe(404)
  })

  it('whose unique key another job has are refused', async () => {
    const job = { kind: 'import', unique: { key: 'k' } }
    const { id } = (await post('/api/jobs', job)).body
    await close(api, only(await claimAll(api)), fatal)
    await post('/api/jobs', job)
    expect(await post(`/api/dead-letters/${id}/retry`)).toMatchObject({
      status: 409,
      body: { error: { code: 'unique_conflict' } },
    })
    const all = await post('/api/dead-letters/retry', { filter: { all: true } })
    expect(all.body).toEqual({ retried: 0, refused: [{ id, problem: 'unique_conflict' }] })
  })

  it.each(['retry', 'purge'])('an empty filter is not taken for all of them: %s', async verb => {
    await dead()
    for (const body of [{}, { filter: {} }, { filter: { all: false } }, { filter: { queu: 'x' } }]) {
      expect(await post(`/api/dead-letters/${verb}`, body)).toMatchObject({
        status: 400,
        body: { error: { code: 'invalid_request' } },
      })
    }
    expect(await get('/api/dead-letters/depth')).toMatchObject({ total: 1 })
  })
})

describe('queues', () => {
  it('are listed with their numbers, and each on its own', async () => {
    await syncManifest(
      api.sql,
      defineManifest({ kinds: [], queues: [defineQueue({ name: 'mails', maxRunning: 2, rate: { perSecond: 5 } })] }),
    )
    const done = await running(api, { queue: 'mails' })
    await close(api, done, completed)
    await dead({ queue: 'slow' })
    await enqueue(api.sql, 2, { queue: 'mails' })
    await enqueue(api.sql, 1, { queue: 'slow', delay_seconds: 60 })
    const mails = await get('/api/queues/mails')
    expect(mails).toMatchObject({ queue: 'mails', available: 2, completed_last_hour: 1, max_running: 2, rate: 5 })
    expect(mails.lag_seconds).toBeGreaterThanOrEqual(0)
    expect((await get('/api/queues')).items).toMatchObject([
      { queue: 'mails' },
      { queue: 'slow', scheduled: 1, lag_seconds: null },
    ])
    expect((await get('/api/kinds')).items).toMatchObject([{ kind: 'resize', available: 2, scheduled: 1 }])
    expect(await get('/api/stats')).toMatchObject({
      ...{ queues: 2, queues_paused: 0, available: 2, scheduled: 1, dead_letters: 1, failed_last_hour: 1 },
      ...{ lag_seconds: expect.any(Number), estimated: [] },
    })
    expect((await call('GET', '/api/queues/nowhere')).status).toBe(404)
  })

  it('are paused, resumed and drained, whatever their names', async () => {
    for (const name of ['mails', 'a/b', 'ä ?#%2F', '..x']) {
      const path = `/api/queues/${encodeURIComponent(name)}`
      const { id } = await running(api, { queue: name })
      await enqueue(api.sql, 3, { queue: name })
      expect((await post(`${path}/pause`, { by: 'ann' })).body).toEqual({ paused: true })
      expect(await get(path)).toMatchObject({ queue: name, paused_by: 'ann', paused_at: expect.any(String) })
      expect((await get('/api/stats')).queues_paused).toBe(1)
      expect((await post(`${path}/drain`, { reason: 'moved' })).body).toEqual({ cancelled: 3 })
      expect((await post(`${path}/resume`)).body).toEqual({ resumed: true })
      expect((await post(`${path}/resume`)).body).toEqual({ resumed: false })
      expect(await view(api, id)).toMatchObject({ state: 'running' })
    }
    expect((await post('/api/queues/%00/pause')).status).toBe(400)
    expect((await post(`/api/queues/${'x'.repeat(201)}/pause`)).body.error?.code).toBe('invalid_queue')
  })
})

const report = defineKind({ name: 'report', args: v.object({ at: v.string() }) })

it('schedules are listed, paused, resumed and triggered', async () => {
  const nightly = defineSchedule({
    name: 'nightly/eu',
    cron: '0 3 * * *',
    timezone: 'Europe/Berlin',
    kind: report,
    args: {},
    timeArg: 'at',
  })
  await syncManifest(api.sql, defineManifest({ kinds: [report], schedules: [nightly] }))
  const path = `/api/schedules/${encodeURIComponent('nightly/eu')}`
  expect((await get('/api/schedules')).items).toMatchObject([
    { name: 'nightly/eu', kind: 'report', next: { length: 5 } },
  ])
  expect((await post(`${path}/pause`, { by: 'ann' })).body).toEqual({ paused: true })
  expect((await post(`${path}/pause`)).body).toEqual({ paused: false })
  expect((await get('/api/schedules')).items).toMatchObject([{ paused_by: 'ann' }])
  const { status, body } = await post(`${path}/trigger`)
  expect(status).toBe(201)
  expect(await view(api, String(body.id))).toMatchObject({
    kind: 'report',
    metadata: { schedule: { triggered: true } },
  })
  expect((await post(`${path}/resume`)).body).toEqual({ resumed: true })
  expect((await post(`${path}/resume`)).body).toEqual({ resumed: false })
  for (const verb of ['pause', 'resume', 'trigger'])
    expect((await post(`/api/schedules/none/${verb}`)).status).toBe(404)
})

describe('batches', () => {
  it('are previewed, submitted, looked at and cancelled', async () => {
    const ids = (await enqueue(api.sql, 12, { queue: 'mails' })).map(Number)
    const wanted = {
      operation: 'move_queue',
      filter: { queue: 'mails', state: ['available'] },
      params: { queue: 'bulk', priority: 4 },
    }
    const preview = (await post('/api/batches/preview', wanted)).body
    expect({ ...preview, sample: idsOf({ items: preview.sample }) }).toEqual({
      count: 12,
      lower_bound: false,
      sample: [...ids].reverse().slice(0, 10),
    })
    const { status, body: batch } = await post('/api/batches', { ...wanted, by: 'ann' })
    expect({ status, batch }).toMatchObject({
      status: 201,
      batch: { state: 'pending', created_by: 'ann', params: wanted.params },
    })
    const { body: other } = await post('/api/batches', { operation: 'cancel', filter: { all: true } })
    expect((await post(`/api/batches/${other.id}/cancel`)).body).toMatchObject({ id: other.id, state: 'cancelled' })
    await api.admin.batches.step(batch.id)
    expect(await get(`/api/batches/${batch.id}`)).toMatchObject({ state: 'completed', matched: 12, changed: 12 })
    expect(idsOf(await get('/api/batches'))).toEqual([other.id, batch.id])
    expect(idsOf(await get('/api/batches?state=completed&limit=5'))).toEqual([batch.id])
    expect((await call('GET', '/api/batches/999999')).status).toBe(404)
    expect((await post('/api/batches/999999/cancel')).status).toBe(404)
  })

  it.each([
    ['invalid_request', { operation: 'retry', filter: {} }],
    ['invalid_request', { operation: 'retry' }],
    ['invalid_request', { operation: 'delete', filter: { all: true } }],
    ['invalid_request', { operation: 'retry', filter: { uniqueKey: 'x' } }],
    ['invalid_request', { operation: 'retry', filter: { state: 'failed' } }],
    ['invalid_priority', { operation: 'set_priority', filter: { all: true }, params: { priority: 9 } }],
    ['invalid_queue', { operation: 'move_queue', filter: { all: true }, params: { queue: '' } }],
    ['invalid_request', { operation: 'move_queue', filter: { all: true } }],
  ])('are refused with %s: %j', async (code, body) => {
    for (const path of ['/api/batches', '/api/batches/preview']) {
      expect(await post(path, body)).toMatchObject({ status: 400, body: { error: { code } } })
    }
    expect((await get('/api/batches')).items).toEqual([])
  })
})

it('tells who is at work', async () => {
  await running(api)
  await new MaintenanceEngine(toSql(api.sql)).lead('me', 60)
  const { items, leaders } = await get('/api/runtimes')
  expect(items).toMatchObject([{ name: 'test', alive: true }])
  expect(leaders).toMatchObject([{ holder: 'me', alive: true, until: expect.any(String) }])
})

it('tells of a leader that has resigned', async () => {
  const engine = new MaintenanceEngine(toSql(api.sql))
  await engine.lead('me', 60)
  await engine.resign('me')
  expect((await get('/api/runtimes')).leaders).toMatchObject([{ holder: 'me', alive: false, until: null }])
})

it('shows a job in whatever state as the document says', async () => {
  const again = await running(api)
  await close(api, again, failed('no such host', 60_000))
  const parked = await running(api)
  await api.engine.park([parked], 60)
  await api.engine.heartbeat([{ ...parked, timeoutSeconds: 60, progress: { percent: 50, message: 'half' } }])
  const done = await running(api, { metadata: { a: 1 } })
  await close(api, done, { kind: 'completed', result: { file: 'x' } })
  await close(api, await running(api), {
    kind: 'put_back',
    error: { message: 'busy', code: 'http_429' },
    delayMs: 60_000,
  })
  await close(api, await running(api), { kind: 'snoozed', delayMs: 60_000 })
  await dead()
  await enqueue(api.sql, 1, { delay_seconds: 60 })
  await post('/api/jobs/cancel', { ids: await enqueue(api.sql) })
  await running(api)
  await enqueue(api.sql)
  const { items } = await get('/api/jobs?full=true')
  expect(items).toHaveLength(10)
  for (const { id } of items) await get(`/api/jobs/${id}`)
  expect((await get('/api/jobs')).items).toHaveLength(10)
  expect(await get(`/api/jobs/${parked.id}`)).toMatchObject({ progress: { percent: 50 }, state: 'waiting_external' })
})

it('tells of follow-ups that could not be enqueued', async () => {
  const kind = {
    name: 'resize',
    args: v.any(),
    followUps: [{ on: ['failed'], enqueue: 'mail', args: from('args.to') }],
  } as const
  await syncManifest(api.sql, defineManifest({ kinds: [kind] }))
  const id = await dead()
  const problem = { job: id, follow_up: 'resize#1', event: 'failed', attempt: 1, code: 'missing_path' }
  expect((await get('/api/follow-up-problems?follow_up=resize%231&limit=5')).items).toMatchObject([problem])
  expect((await get(`/api/follow-up-problems?job=${id + 1}`)).items).toEqual([])
})

it('does all of this, and answers as the document says', () => {
  expect(neverDone(path => /^\/api\/(?!jobs|openapi|endpoints|deliveries|keys|audit)/.test(path))).toEqual([])
})
