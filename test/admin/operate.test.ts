// The rest of the admin module: queues, schedules, runtimes and leaders, over any driver and in any schema.

import { toSql } from 'millrace'
import { admin } from 'millrace/admin'
import pg from 'pg'
import { expect, it, onTestFinished } from 'vitest'
import { MaintenanceEngine } from '../../core/maintenance-engine.ts'
import { useAdmin } from '../support/admin.ts'
import { claimAll, enqueue, running } from '../support/engine-database.ts'

const database = useAdmin()

it('pauses a queue, resumes it, and drains it of what does not run', async () => {
  const { queues, jobs } = database.admin
  const { id } = await running(database, { queue: 'mails' })
  await enqueue(database.sql, 3, { queue: 'mails' })
  await enqueue(database.sql, 2, { queue: 'mails', delay_seconds: 60 })
  await queues.pause('mails', 'ann')
  expect(await claimAll(database)).toEqual([])
  const [row] = await database.sql`select paused_by from millrace.queue where name = 'mails'`
  expect(row?.paused_by).toBe('ann')
  expect(await queues.drain('mails')).toBe(5)
  expect((await jobs.list({ state: 'cancelled', queue: 'mails' })).items).toHaveLength(5)
  expect((await jobs.list({ state: 'running' })).items).toMatchObject([{ id: Number(id) }])
  await enqueue(database.sql, 1, { queue: 'mails' })
  expect(await queues.resume('mails')).toBe(true)
  expect(await queues.resume('mails')).toBe(false)
  expect(await claimAll(database)).toHaveLength(1)
  await expect(queues.pause('')).rejects.toMatchObject({ code: 'invalid_queue' })
})

it('tells how queues and kinds stand', async () => {
  await running(database, { queue: 'mails' }, 'letter')
  await enqueue(database.sql, 3, { queue: 'mails' })
  const { queues, kinds } = database.admin
  await queues.pause('mails', 'ann')
  expect((await queues.list()).find(({ queue }) => queue === 'mails')).toMatchObject({
    ...{ available: 3, running: 1, paused_by: 'ann', lag_seconds: expect.any(Number), estimated: [] },
  })
  expect(await kinds.list()).toMatchObject([
    { kind: 'letter', running: 1, available: 0 },
    { kind: 'resize', running: 0, available: 3 },
  ])
})

it('cancels and retries by ids, and tells what is in the way', async () => {
  const { jobs } = database.admin
  const job = await running(database)
  const [waiting] = (await enqueue(database.sql)) as [string]
  expect(await jobs.cancel([job.id, waiting, '987654'], 'no more')).toEqual([
    { id: Number(job.id), state: 'cancelled', cancelled: true },
    { id: Number(waiting), state: 'cancelled', cancelled: true },
  ])
  expect(await jobs.cancel([job.id])).toMatchObject([{ cancelled: false }])
  expect(await jobs.retry([job.id, '987654'])).toEqual([
    { id: Number(job.id), state: 'available', retried: true, problem: null },
    { id: 987654, state: null, retried: false, problem: 'not_found' },
  ])
  expect(await jobs.retry([job.id])).toMatchObject([{ retried: false, problem: 'not_retryable' }])
  expect((await jobs.get(waiting))?.errors).toMatchObject([{ code: 'cancelled', message: 'no more' }])
  await expect(jobs.get('1; drop')).rejects.toMatchObject({ code: 'invalid_request' })
})

it('lists who is at work and who leads', async () => {
  const id = await database.engine.runtimeStart('host-1')
  const lost = await database.engine.runtimeStart('host-2')
  await database.sql`update millrace.runtime set lost_at = now() - interval '1 second' where id = ${lost}`
  await new MaintenanceEngine(toSql(database.sql)).lead('host-1', 60)
  expect(await database.admin.runtimes.list()).toMatchObject([
    { id: Number(id), name: 'host-1', alive: true, sleeping: false },
    { id: Number(lost), name: 'host-2', alive: false },
  ])
  expect(await database.admin.runtimes.leaders()).toMatchObject([
    { name: 'maintenance', holder: 'host-1', epoch: 1, alive: true },
  ])
})

it('has schedules at hand', async () => {
  expect(await database.admin.schedules.list()).toEqual([])
  expect(await database.admin.schedules.pause('nightly')).toBeUndefined()
})

it('works over pg, within its transaction, and says which schema is missing', async () => {
  const client = new pg.Client(database.url)
  await client.connect()
  onTestFinished(() => client.end())
  await enqueue(database.sql, 2)
  await client.query('begin')
  const { jobs, queues } = admin(client)
  expect(await queues.drain('default')).toBe(2)
  expect((await jobs.list({ state: 'cancelled' })).items).toHaveLength(2)
  await client.query('rollback')
  expect((await jobs.list({ state: 'cancelled' })).items).toHaveLength(0)
  await expect(admin(client, { schema: 'elsewhere' }).jobs.list()).rejects.toMatchObject({ code: 'schema_missing' })
})
