// Each role does its whole work as a user that has nothing but the role, in a schema that an ordinary user owns.

import {
  cancel,
  cancelByKey,
  defineManifest,
  defineSchedule,
  enqueue,
  enqueueMany,
  enqueueUnique,
  getJob,
  job,
  sendEvent,
  syncManifest,
  waitFor,
} from 'millrace'
import { admin } from 'millrace/admin'
import { defineKind, handle, serve } from 'millrace/function'
import { SqlEngine } from 'millrace/maintenance'
import { deriveDispatchKeyring, formatKeyring, generateWebhookSecret } from 'millrace/protocol'
import * as v from 'valibot'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { MaintenanceEngine } from '../../core/maintenance-engine.ts'
import { makeApi } from '../support/api.ts'
import { runCli } from '../support/cli.ts'
import { listen } from '../support/http-server.ts'
import { keyring, startIngress } from '../support/ingress.ts'
import { startMaintenance } from '../support/maintenance.ts'
import { quoted, useRoles } from '../support/roles.ts'
import { startWebhookEndpoint } from '../support/webhook-endpoint.ts'

const database = useRoles()

const resize = defineKind({ name: 'resize', args: v.object({ width: v.number() }) })

test('enqueuer: enqueues with every option beside tables of its own, cancels, looks up', async () => {
  await database.sql.unsafe(`create schema shop authorization ${quoted(database.user('enqueuer'))}`)
  const app = database.as('enqueuer')
  await app`create table shop.orders (id int, job bigint)`
  const [first, rest, same, again] = await app.begin(async tx => {
    const id = await enqueue(
      tx,
      resize,
      { width: 8 },
      {
        ...{ queue: 'images', priority: 1, maxAttempts: 3, tags: ['a'], metadata: { tenant: 'acme' } },
        ...{ orderingKey: 'o', rateKey: 'r', unique: { key: 'once', onConflict: 'error' } },
      },
    )
    await tx`insert into shop.orders values (1, ${id})`
    const many = await enqueueMany(tx, [
      job(resize, { width: 1 }, { delaySeconds: 3600 }),
      job(resize, { width: 2 }, { debounce: { seconds: 60, key: 'd' } }),
      job(resize, { width: 3 }, { throttle: { seconds: 60, key: 't' } }),
    ])
    const unique = { unique: { key: 'twice', onConflict: 'replace' as const } }
    const before = await enqueueUnique(tx, resize, { width: 4 }, unique)
    return [id, many, before, await enqueueUnique(tx, resize, { width: 5 }, unique)] as const
  })
  expect(again).toEqual({ id: same.id, existing: true, replaced: true })
  expect(await app`select job::text from shop.orders`).toEqual([{ job: first }])
  await expect(
    app.begin(tx => enqueue(tx, resize, { width: 8 }, { unique: { key: 'once', onConflict: 'error' } })),
  ).rejects.toMatchObject({ code: 'unique_conflict' })
  expect(await getJob(app, first)).toMatchObject({ queue: 'images', metadata: { tenant: 'acme' }, state: 'available' })
  expect(await cancel(app, [first, ...rest])).toHaveLength(4)
  expect(await cancelByKey(app, 'twice')).toMatchObject({ id: same.id, cancelled: true })
  expect(await waitFor(app, first)).toMatchObject({ state: 'cancelled' })
})

test('deployer, maintenance and ingress: a job from its declaration to its webhook, and one of a schedule', async () => {
  const receiver = serve({
    kinds: [
      handle(resize, async ({ width }, { attempt, heartbeat, waitForEvent }) => {
        await heartbeat()
        if (width === 9) return waitForEvent('approval').payload
        if (width === 8 && attempt === 1) throw new Error('not yet')
        return { height: 2 * width }
      }),
    ],
    dispatchKeys: formatKeyring(deriveDispatchKeyring(keyring)),
  })
  onTestFinished(receiver.drain)
  const url = await listen(request => receiver.fetch(request))
  const secret = generateWebhookSecret()
  const hooks = await startWebhookEndpoint(secret)
  const target = { url, mode: 'callback' } as const
  const declared = { ...resize, target, retry: { strategy: 'fixed', baseSeconds: 0 } } as const
  const schedules = [defineSchedule({ name: 'often', cron: '* * * * * *', kind: declared, args: { width: 1 } })]
  const manifest = defineManifest({
    kinds: [declared],
    schedules,
    subscriptions: [{ name: 'app', url: hooks.url, secret }],
  })
  await syncManifest(database.as('deployer'), manifest)

  const ingress = await startIngress(database.port('ingress'))
  const work = await startMaintenance(database.url('maintenance'), { listen: true, callbackUrl: ingress.url })
  onTestFinished(() => work.stop())
  const app = database.as('enqueuer')
  const id = await app.begin(tx => enqueue(tx, declared, { width: 8 }))
  expect(await waitFor(app, id, { timeoutSeconds: 15 })).toMatchObject({
    state: 'completed',
    attempt: 2,
    result: { height: 16 },
  })
  const waiting = await app.begin(tx => enqueue(tx, declared, { width: 9 }))
  await sendEvent(app, waiting, 'approval', { payload: { by: 'ann' } })
  expect(await waitFor(app, waiting, { timeoutSeconds: 15 })).toMatchObject({ result: { by: 'ann' } })
  await hooks.deliveries.first(({ event }) => event.data.job_id === Number(id))
  await work.events.first({ type: 'fired' })
  const errors = work.events.all.filter(event => 'error' in event)
  expect(errors).toEqual([])
})

describe('maintenance', () => {
  const engine = () => new SqlEngine(database.port('maintenance'))

  test('rotates, brings forward, archives and prunes, by TRUNCATE; and what has expired goes', async () => {
    const app = database.as('enqueuer')
    const chores = new MaintenanceEngine(database.port('maintenance'))
    const epoch = await vi.waitFor(async () => {
      const mine = await chores.lead('chores', 60)
      expect(mine).toBeDefined()
      return mine as string
    })
    await app`select millrace.enqueue('work') from generate_series(1, 3)`
    const before =
      await database.sql`select count(*)::int as segments, max(number)::int as newest from millrace.segment`
    await database.sql`update millrace.segment set opened_at = opened_at - interval '5 hours'`
    expect(Number(await chores.rotate(epoch))).toBe(before[0]?.newest + 1)
    await database.sql`update millrace.segment set opened_at = opened_at - interval '2 days'`
    const pruned = await vi.waitFor(
      async () => {
        await chores.survey(epoch)
        const done = await chores.prune(epoch)
        expect(done).toHaveProperty('carried')
        return done
      },
      { timeout: 10_000, interval: 20 },
    )
    expect(pruned).toMatchObject({ segment: 0 })
    expect(await chores.expire(epoch, 10)).toBe(0)
  })

  test('rescues what is silent, and takes over a restored database', async () => {
    const app = database.as('enqueuer')
    const mine = engine()
    const silent = await mine.runtimeStart('silent')
    await app`select millrace.enqueue('lost')`
    const claimed = await vi.waitFor(async () => {
      const jobs = await mine.claim(silent, 100)
      expect(jobs.some(({ kind }) => kind === 'lost')).toBe(true)
      return jobs.find(({ kind }) => kind === 'lost')
    })
    await database.sql`update millrace.runtime set lost_at = now() - interval '1 second' where id = ${silent}`
    expect((await mine.rescue(100)).lost).toBeGreaterThan(0)
    await database.sql`update millrace.cluster set identifier = 1, started_at = '2020-01-01'`
    const health = () => runCli(['health', '--ticks', '--json', '--database-url', database.url('reader')])
    expect(JSON.parse((await health()).stdout)).toMatchObject({ restored: true, failing: ['cluster'] })
    await mine.claim(await mine.runtimeStart('next'), 1)
    expect(JSON.parse((await health()).stdout)).toMatchObject({ ok: true, restored: false })
    expect(await getJob(app, claimed?.id ?? '')).toMatchObject({ attempt: 2 })
  })
})

describe('operator', () => {
  test('looks at, moves, cancels and retries jobs; pauses, resumes and drains; batches; dead letters; schedules', async () => {
    const app = database.as('operator')
    const { jobs, queues, deadLetters, batches, schedules, kinds, runtimes } = admin(app)
    const ids = await enqueueMany(
      app,
      [1, 2, 3, 4].map(width => job(resize, { width }, { queue: 'office', delaySeconds: 60 })),
    )
    const [one = '', two = '', three = ''] = ids
    await queues.pause('office', 'me')
    expect((await jobs.list({ queue: 'office' })).items).toHaveLength(4)
    expect(await jobs.get(one)).toMatchObject({ queue: 'office' })
    expect(await jobs.move([one], { priority: 4 })).toMatchObject([{ moved: true }])
    expect(await jobs.cancel([two])).toMatchObject([{ cancelled: true }])
    expect(await jobs.retry([two])).toMatchObject([{ retried: true }])
    const batch = await batches.submit('set_priority', { queue: 'office' }, { priority: 1 }, 'me')
    expect((await batches.open()).map(String)).toContain(String(batch.id))
    expect(await batches.step(batch.id)).toBeDefined()
    expect(await batches.preview('cancel', { queue: 'office' })).toMatchObject({ count: 4 })
    expect((await batches.list()).items.length).toBeGreaterThan(0)
    expect(await batches.cancel(batch.id)).toBeDefined()
    expect(await batches.purge(0)).toBeGreaterThanOrEqual(0)
    expect(await queues.drain('office')).toBe(4)
    expect(await queues.resume('office')).toBe(true)

    await database.as('owner')`
      insert into millrace.dead_letter (id, expires_at, reason, lane, enqueued_at, attempt, max_attempts, kind, payload)
      select n, now() + interval '1 day', 'terminal_error', millrace.open_lane('office', 2), now(), 1, 1, 'resize', '{}'
      from generate_series(1000001, 1000002) n`
    expect(await deadLetters.get(1000001)).toMatchObject({ reason: 'terminal_error' })
    expect(await deadLetters.retry({ ids: [1000001] })).toMatchObject({ retried: 1 })
    expect(await deadLetters.purge({ ids: [1000002] })).toBe(1)
    expect(await deadLetters.depth()).toBeDefined()

    await syncManifest(
      database.as('deployer'),
      defineManifest({
        kinds: [],
        schedules: [defineSchedule({ name: 'yearly', cron: '0 0 1 1 *', kind: resize, args: { width: 1 } })],
      }),
      { source: 'office' },
    )
    expect(await schedules.pause('yearly', 'me')).toBe(true)
    expect(await schedules.resume('yearly')).toBe(true)
    expect(await schedules.trigger('yearly')).toMatch(/^\d+$/)
    expect((await schedules.list()).map(({ name }) => name)).toContain('yearly')
    expect(await kinds.list()).toBeDefined()
    expect(await runtimes.leaders()).toBeDefined()
    expect(await jobs.cancel([three])).toMatchObject([{ cancelled: false }])
  })

  test('runs the admin API', async () => {
    const { call } = makeApi({ sql: database.as('operator') })
    const enqueued = await call('POST', '/api/jobs', { body: { kind: 'resize', args: { width: 1 }, queue: 'api' } })
    expect(enqueued.status).toBe(201)
    const id = enqueued.body.id
    expect((await call('GET', `/api/jobs/${id}`)).body).toMatchObject({ queue: 'api' })
    expect((await call('POST', `/api/jobs/${id}/cancel`)).status).toBe(200)
    for (const path of [
      'jobs',
      'queues',
      'dead-letters',
      'schedules',
      'batches',
      'runtimes',
      'kinds',
      'keys',
      'audit',
    ]) {
      expect({ path, status: (await call('GET', `/api/${path}`)).status }).toEqual({ path, status: 200 })
    }
    const made = (await call('POST', '/api/keys', { body: { name: 'acme', scopes: ['read'], tenant: 'acme' } })).body
    expect((await call('GET', `/api/jobs/${id}`, { key: made.key })).status).toBe(404)
    expect((await call('POST', `/api/keys/${made.id}/rotate`)).status).toBe(201)
    expect((await call('DELETE', `/api/keys/${made.id}`)).status).toBe(200)
    const [last] = (await call('GET', '/api/audit')).body.items
    expect(last).toMatchObject({ action: 'api_key.revoke', login: database.user('operator') })
  })
})

test('reader: all that can be looked at', async () => {
  const app = database.as('reader')
  const { jobs, queues, deadLetters, batches, schedules, kinds, runtimes } = admin(app)
  const [newest] = (await jobs.list()).items
  expect(await jobs.get(newest?.id ?? '')).toBeDefined()
  for (const list of [
    queues.list(),
    deadLetters.list(),
    deadLetters.depth(),
    batches.list(),
    schedules.list(),
    kinds.list(),
  ]) {
    expect(await list).toBeDefined()
  }
  expect(await runtimes.list()).toBeDefined()
  await expect(jobs.cancel([newest?.id ?? ''])).rejects.toMatchObject({ code: '42501' })
})
