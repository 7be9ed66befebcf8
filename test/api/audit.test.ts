// What operators did: each action is on the log once, with who did it, in the transaction that does it.

import { toSql } from 'millrace'
import { type Admin, admin } from 'millrace/admin'
import { beforeEach, describe, expect, it } from 'vitest'
import { MaintenanceEngine } from '../../core/maintenance-engine.ts'
import { KEYS, neverDone, useApi } from '../support/api.ts'
import { close, enqueue, fatal, running } from '../support/engine-database.ts'

const api = useApi()

const SECRET = `whsec_${'A'.repeat(32)}`

interface Entry {
  readonly actor: string
  readonly login: string
  readonly action: string
  readonly detail: Record<string, unknown>
}

const entries = async (): Promise<Entry[]> =>
  api.sql<Entry[]>`select actor, login, action, detail from millrace.audit_log order by id`

const clear = () => api.sql`delete from millrace.audit_log`

const actions = async () => (await entries()).map(({ action }) => action)

/** What there is to be operated on: ids of jobs, and names. */
let there: { open: string; dead: string; gone: string; delivery: string; batch: number; key: number }

beforeEach(async () => {
  const [dead, gone] = [await running(api), await running(api)]
  await close(api, dead, fatal)
  await close(api, gone, fatal)
  const [open = ''] = await enqueue(api.sql, 1, { queue: 'mails', delay_seconds: 600, unique_key: 'once' })
  await api.sql`insert into millrace.schedule (name, expression, timezone, kind, args, missed, overlap, source)
    values ('nightly', '0 0 * * *', 'UTC', 'report', '{}', 'coalesce', 'allow', 'tests')`
  const made = admin(api.sql)
  await made.endpoints.create({ name: 'shop', url: 'https://example.com/token', secret: SECRET })
  await made.endpoints.create({ name: 'old', url: 'https://example.com/token', secret: SECRET })
  await made.endpoints.test('shop')
  const [job] = await api.engine.claim(await api.engine.runtimeStart('deliveries'), 100)
  await close(api, job as never, fatal)
  const batch = await made.batches.submit('cancel', { queue: 'nothing' })
  const key = await made.apiKeys.create({ name: 'reporting', scopes: ['read'] })
  there = { open, dead: dead.id, gone: gone.id, delivery: `${job?.id}`, batch: batch.id, key: key.id }
  await clear()
})

type Doing = readonly [action: string, detail: object, run: (admin: Admin) => Promise<unknown>]

/** Every verb of operators, by an admin module that knows who asks. */
const DOINGS: Readonly<Record<string, () => Doing>> = {
  'jobs.cancel': () => [
    'job.cancel',
    { ids: [Number(there.open)], reason: 'no use' },
    a => a.jobs.cancel([there.open, 1e9], 'no use'),
  ],
  'jobs.cancelByKey': () => ['job.cancel', { ids: [Number(there.open)] }, a => a.jobs.cancelByKey('once')],
  'jobs.retry': () => [
    'job.retry',
    { ids: [Number(there.dead)] },
    a => a.jobs.retry([there.dead, there.delivery.replace(/^/, '9')]),
  ],
  'jobs.move': () => [
    'job.move',
    { ids: [Number(there.open)], queue: 'slow' },
    a => a.jobs.move([there.open], { queue: 'slow' }),
  ],
  'deadLetters.retry': () => [
    'dead_letter.retry',
    { filter: { ids: [there.dead] }, retried: 1, priority: 4, ids: [Number(there.dead)] },
    a => a.deadLetters.retry({ ids: [there.dead] }, { priority: 4 }),
  ],
  'deadLetters.purge': () => [
    'dead_letter.purge',
    { filter: { ids: [there.gone] }, purged: 1, ids: [Number(there.gone)] },
    a => a.deadLetters.purge({ ids: [there.gone] }),
  ],
  'queues.pause': () => ['queue.pause', { queue: 'mails', by: 'ann' }, a => a.queues.pause('mails', 'ann')],
  'queues.resume': () => ['queue.resume', { queue: 'paused' }, a => a.queues.resume('paused')],
  'queues.drain': () => [
    'queue.drain',
    { queue: 'mails', cancelled: 1, reason: 'drained' },
    a => a.queues.drain('mails'),
  ],
  'schedules.pause': () => [
    'schedule.pause',
    { schedule: 'nightly', by: 'ann' },
    a => a.schedules.pause('nightly', 'ann'),
  ],
  'schedules.resume': () => ['schedule.resume', { schedule: 'paused' }, a => a.schedules.resume('paused')],
  'schedules.trigger': () => [
    'schedule.trigger',
    { schedule: 'nightly', job: expect.any(Number) },
    a => a.schedules.trigger('nightly'),
  ],
  'batches.submit': () => [
    'batch.submit',
    {
      batch: expect.any(Number),
      operation: 'retry',
      filter: { queue: 'mails', state: ['failed'] },
      params: {},
      by: 'ann',
    },
    a => a.batches.submit('retry', { queue: 'mails' }, {}, 'ann'),
  ],
  'batches.cancel': () => ['batch.cancel', { batch: there.batch }, a => a.batches.cancel(there.batch)],
  'endpoints.create': () => [
    'endpoint.create',
    { endpoint: 'new', tenant: 'acme', events: ['completed', 'failed', 'cancelled'] },
    a => a.endpoints.create({ name: 'new', url: 'https://example.com/token', tenant: 'acme' }),
  ],
  'endpoints.update': () => [
    'endpoint.update',
    { endpoint: 'shop', changed: ['description', 'url'] },
    a => a.endpoints.update('shop', { url: 'https://example.org/token', description: 'x' }),
  ],
  'endpoints.delete': () => ['endpoint.delete', { endpoint: 'old' }, a => a.endpoints.delete('old')],
  'endpoints.rotate': () => [
    'endpoint.rotate',
    { endpoint: 'shop', grace_seconds: 86400 },
    a => a.endpoints.rotate('shop'),
  ],
  'endpoints.disable': () => ['endpoint.disable', { endpoint: 'shop' }, a => a.endpoints.disable('shop')],
  'endpoints.enable': () => ['endpoint.enable', { endpoint: 'shop' }, a => a.endpoints.enable('shop')],
  'endpoints.test': () => [
    'endpoint.test',
    { endpoint: 'shop', job: expect.any(Number) },
    a => a.endpoints.test('shop'),
  ],
  'deliveries.redeliver': () => [
    'delivery.redeliver',
    { delivery: Number(there.delivery), job: expect.any(Number) },
    a => a.deliveries.redeliver(there.delivery),
  ],
  'apiKeys.create': () => [
    'api_key.create',
    { id: expect.any(Number), name: 'n', scopes: ['read'] },
    a => a.apiKeys.create({ name: 'n', scopes: ['read'] }),
  ],
  'apiKeys.rotate': () => [
    'api_key.rotate',
    { id: expect.any(Number), name: 'reporting', scopes: ['read'], before: there.key, grace_seconds: 86400 },
    a => a.apiKeys.rotate(there.key),
  ],
  'apiKeys.revoke': () => [
    'api_key.revoke',
    { id: there.key, name: 'reporting', scopes: ['read'] },
    a => a.apiKeys.revoke(there.key),
  ],
}

/** Verbs of the admin module that change nothing that an operator would be asked about. */
const SILENT = [
  ...['batches.preview', 'batches.step', 'batches.open', 'schedules.fire', 'schedules.fail', 'schedules.due'],
  ...['jobs.ofTenant', 'deadLetters.depth', 'followUps.problems', 'runtimes.leaders'],
]

/** In tests of their own. */
const LATER = ['batches.purge', 'deliveries.redeliverMany', 'deliveries.redeliverSome', 'endpoints.reseal']

it('every verb of the admin module is tested here, or only looks', () => {
  const parts = Object.entries(admin(api.sql)) as [string, object][]
  const verbs = parts.flatMap(([part, its]) =>
    Object.getOwnPropertyNames(Object.getPrototypeOf(its))
      .filter(verb => !['constructor', 'list', 'get'].includes(verb))
      .map(verb => `${part}.${verb}`),
  )
  const tested = [...Object.keys(DOINGS), ...SILENT, ...LATER]
  expect(verbs.sort()).toEqual(tested.sort())
})

describe('one entry, with who did it', () => {
  beforeEach(async () => {
    await api.sql`insert into millrace.queue (name, paused_at) values ('paused', now())`
    await api.sql`insert into millrace.schedule (name, expression, timezone, kind, args, missed, overlap, source, paused_at)
      values ('paused', '0 0 * * *', 'UTC', 'report', '{}', 'coalesce', 'allow', 'tests', now())`
  })
  const login = expect.any(String)

  it.each(Object.entries(DOINGS))('%s', async (_, doing) => {
    const [action, detail, run] = doing()
    await run(admin(api.sql, { by: 'ann@laptop' }))
    expect(await entries()).toEqual([{ actor: 'ann@laptop', login, action, detail }])
    const [text] = await api.sql`select string_agg(a::text, '') as text from millrace.audit_log a`
    expect(text?.text).not.toMatch(/whsec_|example\.(com|org)|mk_/)
  })

  it.each(Object.entries(DOINGS))('%s, by whoever is connected', async (name, doing) => {
    const [, , run] = doing()
    await run(admin(api.sql))
    const [{ user } = { user: '' }] = await api.sql<{ user: string }[]>`select session_user as user`
    const said = /pause|submit/.test(name) ? 'ann' : user
    expect(await entries()).toMatchObject([{ actor: said, login: user }])
  })

  it.each(Object.entries(DOINGS))('%s, undone, is not on it', async (_, doing) => {
    const [, , run] = doing()
    const undone = api.sql.begin(async tx => {
      await run(admin(tx as never))
      throw new Error('undone')
    })
    await expect(undone).rejects.toThrow('undone')
    expect(await entries()).toEqual([])
  })
})

describe('nothing', () => {
  it('of what changed nothing', async () => {
    const a = admin(api.sql, { by: 'ann' })
    await a.jobs.cancel([1e9])
    await a.jobs.cancelByKey('unknown')
    await a.jobs.retry([there.open.replace(/^/, '9')])
    await a.jobs.move([there.dead], { queue: 'x' })
    await a.deadLetters.retry({ queue: 'none' })
    await a.deadLetters.purge({ queue: 'none' })
    await a.queues.resume('mails')
    await a.queues.drain('none')
    for (const name of ['nightly', 'none']) await a.schedules.resume(name)
    await a.schedules.pause('none')
    await a.schedules.trigger('none')
    await a.batches.cancel(1e9)
    await a.batches.purge()
    await a.endpoints.update('none', { description: 'x' })
    await a.endpoints.delete('none')
    await a.endpoints.rotate('none')
    await a.endpoints.enable('none')
    await a.endpoints.disable('none')
    await a.endpoints.test('none')
    await a.deliveries.redeliver(there.open)
    await a.deliveries.redeliverMany('none')
    await a.apiKeys.rotate(1e9)
    await a.apiKeys.revoke(1e9)
    expect(await entries()).toEqual([])
    await a.queues.pause('mails')
    await a.queues.pause('mails')
    expect(await actions()).toEqual(['queue.pause'])
  })

  it('of what is refused', async () => {
    const a = admin(api.sql, { by: 'ann' })
    const refused: readonly (() => Promise<unknown>)[] = [
      () => a.queues.pause(''),
      () => a.batches.submit('retry', {}),
      () => a.jobs.move([there.open], { priority: 9 }),
      () => a.endpoints.create({ name: 'shop', url: 'https://example.com' }),
      () => a.apiKeys.create({ name: 'reporting', scopes: ['read'] }),
      () => a.deadLetters.purge({}),
    ]
    for (const call of refused) await expect(call()).rejects.toThrow()
    const call = (path: string, body: object) => api.call('POST', path, { body, key: KEYS.read })
    expect((await call(`/api/jobs/${there.open}/cancel`, {})).status).toBe(403)
    expect(await entries()).toEqual([])
  })

  it('of what applications do, and of what the leader does for a batch', async () => {
    const [mine = ''] = await enqueue(api.sql)
    await api.sql`select millrace.cancel(array[${mine}::bigint])`
    await api.sql`select millrace.cancel_by_key('once')`
    const batch = await admin(api.sql).batches.submit('retry', { all: true })
    await clear()
    for (let more = true; more; ) more = (await admin(api.sql).batches.step(batch.id))?.state === 'running'
    expect(await entries()).toEqual([])
    await api.sql`select * from millrace.retry(array[${mine}::bigint])`
    expect(await actions()).toEqual(['job.retry'])
  })
})

it('batches that are forgotten, deliveries that are sent again, and manifests', async () => {
  const a = admin(api.sql, { by: 'ann' })
  await api.sql`update millrace.batch set state = 'completed', finished_at = now() - interval '1 hour'`
  await a.batches.purge(60)
  await api.sql`insert into millrace.delivery (job, attempt, endpoint, message, event, state)
    values (${there.delivery}, 1, 'shop', ${`msg_${there.delivery}`}, 'webhook.test', 'f')`
  await a.deliveries.redeliverMany('shop')
  await api.sql`select millrace.sync_manifest('{"queues": [{"name": "new"}]}', 'app', 'ann')`
  await api.sql`select millrace.sync_manifest('{"queues": [{"name": "new"}]}', 'app', 'ann')`
  expect(await entries()).toMatchObject([
    { actor: 'ann', action: 'batch.purge', detail: { purged: 1 } },
    { actor: 'ann', action: 'delivery.redeliver', detail: { endpoint: 'shop', redelivered: 1, only_failed: true } },
    { actor: 'ann', action: 'manifest.sync', detail: { source: 'app', version: expect.any(Number) } },
  ])
})

describe('over the API', () => {
  it('it says which key, whatever the request says', async () => {
    const { key } = (await api.call('POST', '/api/keys', { body: { name: 'ops', scopes: ['operate'] } })).body
    await api.call('POST', '/api/queues/mails/pause', { key, body: { by: 'somebody else' } })
    await api.call('POST', `/api/jobs/${there.open}/cancel`, { key, body: { reason: 'no use' } })
    const { items } = (await api.call('GET', '/api/audit', { key: KEYS.operate })).body
    expect(items).toMatchObject([
      { actor: 'key:ops', action: 'job.cancel', detail: { ids: [Number(there.open)], reason: 'no use' } },
      { actor: 'key:ops', action: 'queue.pause', detail: { queue: 'mails', by: 'somebody else' } },
      { actor: 'configured-key:1', action: 'api_key.create', detail: { name: 'ops' } },
    ])
    expect((await api.call('GET', '/api/audit', { key: KEYS.read })).status).toBe(403)
  })

  it('it is read by actor, action and time, a page at a time', async () => {
    for (const by of ['ann', 'bob', 'ann', 'bob']) {
      const a = admin(api.sql, { by })
      await a.queues.pause('mails')
      await a.queues.resume('mails')
    }
    await api.sql`update millrace.audit_log set at = now() - interval '1 day' where id in (select id from millrace.audit_log order by id limit 2)`
    const read = async (query: string) => (await api.call('GET', `/api/audit?${query}`)).body
    const names = async (query: string) =>
      (await read(query)).items.map(({ actor, action }: Entry) => `${actor} ${action}`)
    expect(await names('actor=ann&action=queue.pause')).toEqual(['ann queue.pause', 'ann queue.pause'])
    expect(await names('action=queue')).toHaveLength(8)
    expect(await names('action=que')).toEqual([])
    const hour = new Date(Date.now() - 3_600_000).toISOString()
    expect(await names(`since=${hour}`)).toHaveLength(6)
    expect(await names(`until=${hour}`)).toEqual(['ann queue.resume', 'ann queue.pause'])
    const seen: number[] = []
    for (let cursor = ''; ; ) {
      const page = await read(`limit=3${cursor && `&cursor=${cursor}`}`)
      seen.push(...page.items.map(({ id }: { id: number }) => id))
      if (page.cursor === null) break
      cursor = page.cursor
    }
    expect(seen).toEqual([...seen].sort((a, b) => b - a))
    expect(new Set(seen).size).toBe(8)
    for (const wrong of ['cursor=x', 'limit=0', 'since=x', 'who=ann']) {
      expect((await api.call('GET', `/api/audit?${wrong}`)).status).toBe(400)
    }
    expect(neverDone(path => path === '/api/audit')).toEqual([])
  })
})

it('it is kept for as long as the setting says, and the leader is told when something is to go', async () => {
  const engine = new MaintenanceEngine(toSql(api.sql))
  const chores = async () => {
    const runtime = await api.engine.runtimeStart('leader')
    const [row] = await api.sql`select chores from millrace.pulse(${runtime}, 'me', 60, true)`
    return row?.chores as string[]
  }
  await admin(api.sql, { by: 'ann' }).queues.pause('mails')
  await admin(api.sql, { by: 'ann' }).queues.resume('mails')
  expect(await chores()).not.toContain('expire')
  await api.sql`update millrace.audit_log set at = now() - interval '366 days' where action = 'queue.pause'`
  await api.sql`update millrace.api_key set expires_at = now() - interval '31 days'`
  expect(await chores()).toContain('expire')
  await engine.expire((await engine.lead('me', 60)) ?? '', 10)
  expect(await actions()).toEqual(['queue.resume'])
  expect(await api.sql`select from millrace.api_key`).toHaveLength(0)
  expect(await chores()).not.toContain('expire')
})
