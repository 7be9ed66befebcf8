// Dead letters: how jobs get there, lists, retry, purge, and the end of their retention.

import { toSql } from 'millrace'
import type { BulkDeadLetterFilter } from 'millrace/admin'
import { describe, expect, it } from 'vitest'
import { MaintenanceEngine } from '../../core/maintenance-engine.ts'
import { idsOf, useAdmin } from '../support/admin.ts'
import {
  claimAgain,
  claimAll,
  close,
  completed,
  type EnqueueOptions,
  enqueue,
  failed,
  fatal,
  only,
  putBack,
  running,
  view,
} from '../support/engine-database.ts'
import { startIngress } from '../support/ingress.ts'

const database = useAdmin()
const letters = () => database.admin.deadLetters

/** A job that has failed for good. */
async function dead(options?: EnqueueOptions, kind?: string): Promise<string> {
  const job = await running(database, options, kind)
  await close(database, job, fatal)
  return job.id
}

const reasonOf = async (id: string) => (await letters().get(id))?.reason

describe('a failed job becomes a dead letter', () => {
  it('when its function says that it is no use to retry', async () => {
    const id = await dead({ metadata: { tenant: 'x' } })
    expect(await letters().get(id)).toMatchObject({
      ...{ reason: 'terminal_error', attempt: 1, args: { n: 0 }, metadata: { tenant: 'x' } },
      errors: [{ attempt: 1, code: 'reported', message: 'no such order' }],
    })
  })

  it('when a callback says so', async () => {
    const job = await running(database)
    await database.engine.park([job], 60)
    const { call } = await startIngress(toSql(database.sql))
    expect(await call(job, 'fail', { body: { error: 'paper jam' } })).toMatchObject({ status: 200 })
    expect(await letters().get(job.id)).toMatchObject({ reason: 'terminal_error', error: { message: 'paper jam' } })
  })

  it('when its attempts are used up', async () => {
    const job = await running(database, { max_attempts: 2 })
    await close(database, job, failed('one'))
    expect(await letters().get(job.id)).toBeUndefined()
    await close(database, only(await claimAgain(database)), failed('two'))
    expect(await letters().get(job.id)).toMatchObject({
      reason: 'max_attempts_exhausted',
      errors: [{ message: 'one' }, { message: 'two' }],
    })
  })

  it('when it was put back for too long', async () => {
    const job = await running(database, { max_attempts: 1 })
    await close(database, job, putBack(0))
    const again = only(await claimAgain(database))
    await database.sql`update millrace.job_log set put_back = '{"since": "2020-01-01T00:00:00Z"}' where id = ${job.id}`
    await close(database, again, putBack(0))
    expect(await reasonOf(job.id)).toBe('put_back_limit')
  })

  it('when its last callback did not come in time', async () => {
    const job = await running(database, { max_attempts: 1 })
    await database.engine.park([job], -3600)
    await database.engine.rescue(10)
    expect(await reasonOf(job.id)).toBe('callback_timeout')
  })

  it('when its last dispatcher was lost', async () => {
    const job = await running(database, { max_attempts: 1 })
    await database.sql`update millrace.runtime set lost_at = now() - interval '1 hour'`
    await database.engine.rescue(10)
    expect(await reasonOf(job.id)).toBe('dispatcher_lost')
  })

  it('but not when it completed, was cancelled, or its queue does without', async () => {
    await database.sql`insert into millrace.queue (name, dead_letters) values ('careless', false), ('careful', true)`
    await close(database, await running(database), completed)
    await database.admin.jobs.cancel(await enqueue(database.sql))
    const careless = await dead({ queue: 'careless' })
    expect((await letters().list()).items).toEqual([])
    expect((await view(database, careless)).state).toBe('failed')
    const careful = await dead({ queue: 'careful' })
    expect(idsOf((await letters().list()).items)).toEqual([careful])
  })
})

describe('a list of dead letters', () => {
  it('is by time of death, last first, and in pages', async () => {
    const ids = []
    for (let n = 0; n < 5; n++) ids.unshift(await dead())
    const found: string[] = []
    for (let cursor: string | null | undefined; cursor !== null; ) {
      const page = await letters().list({}, { limit: 2, cursor })
      found.push(...idsOf(page.items))
      cursor = page.cursor
    }
    expect(found).toEqual(ids)
  })

  it('goes on within those that died in the same instant', async () => {
    await enqueue(database.sql, 5)
    const jobs = await claimAll(database)
    await database.engine.close(jobs.map(({ segment, id, attempt }) => ({ segment, id, attempt, outcome: fatal })))
    const first = await letters().list({}, { limit: 3 })
    const rest = await letters().list({}, { limit: 3, cursor: first.cursor })
    expect(idsOf([...first.items, ...rest.items])).toEqual(jobs.map(({ id }) => id).reverse())
  })

  it('by queue, kind, reason, tag and ids', async () => {
    const a = await dead({ queue: 'a' })
    const b = await dead({ queue: 'b', max_attempts: 1 }, 'mail')
    const job = await running(database, { max_attempts: 1 })
    await close(database, job, failed('x'))
    await database.sql`select millrace.enqueue('resize', '{}', tags => '{red}')`
    const tagged = only(await claimAll(database))
    await close(database, tagged, fatal)
    const list = async (filter: BulkDeadLetterFilter) => idsOf((await letters().list(filter)).items)
    expect(await list({ queue: 'a' })).toEqual([a])
    expect(await list({ kind: 'mail' })).toEqual([b])
    expect(await list({ reason: 'max_attempts_exhausted' })).toEqual([job.id])
    expect(await list({ tag: 'red' })).toEqual([tagged.id])
    expect(await list({ ids: [a, tagged.id, 123456] })).toEqual([tagged.id, a])
    expect(await letters().depth()).toMatchObject({
      ...{ total: 4, lower_bound: false },
      queues: [
        { queue: 'a', count: 1 },
        { queue: 'b', count: 1 },
        { queue: 'default', count: 2 },
      ],
    })
  })

  it.each([{ colour: 'red' }, { state: 'failed' }])('refuses the filter %o', async filter => {
    await expect(letters().list(filter as BulkDeadLetterFilter)).rejects.toMatchObject({ code: 'invalid_request' })
  })
})

describe('a retry', () => {
  it('numbers attempts on and gives the job all of its attempts again', async () => {
    await database.sql`insert into millrace.kind (name, max_attempts, source) values ('resize', 3, 'test')`
    const job = await running(database, { max_attempts: 1 })
    await close(database, job, failed('one'))
    expect(await letters().retry({ ids: [job.id] })).toEqual({ retried: 1, refused: [] })
    expect(await letters().get(job.id)).toBeUndefined()
    expect(await view(database, job.id)).toMatchObject({ state: 'available', attempt: 2, max_attempts: 4 })
    const again = only(await claimAll(database))
    expect(again).toMatchObject({ id: job.id, attempt: 2 })
    await close(database, again, fatal)
    expect(await letters().get(job.id)).toMatchObject({ attempt: 2, errors: [{ message: 'one' }, { attempt: 2 }] })
  })

  it('works when nothing but the dead letter is left', async () => {
    const id = await dead()
    await database.prune()
    expect(await letters().retry({ ids: [id] })).toEqual({ retried: 1, refused: [] })
    expect(only(await claimAll(database))).toMatchObject({ id, attempt: 2, args: '{"n": 0}' })
  })

  it('of many takes those that match, in whatever chunks', async () => {
    await enqueue(database.sql, 1200, { queue: 'many' })
    const jobs = await claimAll(database, 2000)
    await database.engine.close(jobs.map(({ segment, id, attempt }) => ({ segment, id, attempt, outcome: fatal })))
    const other = await dead({ queue: 'other' })
    expect(await letters().retry({ queue: 'many' })).toEqual({ retried: 1200, refused: [] })
    expect(idsOf((await letters().list()).items)).toEqual([other])
    expect(await letters().retry({ all: true })).toEqual({ retried: 1, refused: [] })
  })

  it('can go to another queue and priority', async () => {
    const id = await dead()
    await letters().retry({ ids: [id] }, { queue: 'slow', priority: 4 })
    expect(await view(database, id)).toMatchObject({ state: 'available', queue: 'slow', priority: 4 })
    expect(only(await claimAll(database))).toMatchObject({ id, queue: 'slow' })
    expect(await claimAll(database)).toEqual([])
  })

  it('is refused while another job holds its unique key', async () => {
    const keyed = async () => {
      const [row] = await database.sql`select millrace.enqueue('resize', '{}', unique_key => 'k')::text as id`
      return row?.id as string
    }
    const first = await keyed()
    await close(database, only(await claimAll(database)), fatal)
    const second = await keyed()
    expect(second).not.toBe(first)
    const refused = [{ id: Number(first), problem: 'unique_conflict' }]
    expect(await letters().retry({ all: true })).toEqual({ retried: 0, refused })
    expect(await letters().get(first)).toMatchObject({ attempt: 1 })
    await close(database, only(await claimAll(database)), fatal)
    expect((await letters().retry({ ids: [first] })).retried).toBe(1)
    expect((await letters().retry({ ids: [second] })).refused).toMatchObject([{ problem: 'unique_conflict' }])
  })
})

describe('a purge', () => {
  it('deletes what matches', async () => {
    const [a] = [await dead({ queue: 'a' }), await dead({ queue: 'b' }), await dead({ queue: 'b' })]
    expect(await letters().purge({ queue: 'b' })).toBe(2)
    expect(idsOf((await letters().list()).items)).toEqual([a])
    expect(await letters().purge({ all: true })).toBe(1)
    expect(await letters().depth()).toEqual({ total: 0, lower_bound: false, queues: [] })
  })

  it('and a retry need a filter, or to say that they mean all', async () => {
    const id = await dead()
    for (const verb of ['purge', 'retry'] as const) {
      await expect(letters()[verb]({})).rejects.toMatchObject({ code: 'invalid_request' })
      await expect(letters()[verb]({ all: false })).rejects.toMatchObject({ code: 'invalid_request' })
      await expect(letters()[verb]({ all: true, queue: 'a' })).rejects.toMatchObject({ code: 'invalid_request' })
    }
    expect(await letters().get(id)).toBeDefined()
  })
})

describe('a dead letter', () => {
  it('is kept as long as its queue says, thirty days unless it says so', async () => {
    await database.sql`insert into millrace.queue (name, dead_letter_retention_seconds) values ('short', 60)`
    const kept = async (id: string) => {
      const letter = await letters().get(id)
      return (Date.parse(letter?.expires_at ?? '') - Date.parse(letter?.died_at ?? '')) / 1000
    }
    expect(await kept(await dead())).toBe(30 * 24 * 3600)
    expect(await kept(await dead({ queue: 'short' }))).toBe(60)
  })

  it('is deleted by the leader, a bounded number at a time, when that time is over', async () => {
    const engine = new MaintenanceEngine(toSql(database.sql))
    const epoch = (await engine.lead('a', 60)) as string
    for (let n = 0; n < 5; n++) await dead()
    expect(await engine.expire(epoch, 2)).toBe(0)
    await database.sql`update millrace.dead_letter set expires_at = now()`
    expect(await engine.expire(epoch, 2)).toBe(2)
    expect(await engine.expire(epoch, 10)).toBe(3)
    await expect(engine.expire('99', 2)).rejects.toMatchObject({ code: 'not_leader' })
  })
})
