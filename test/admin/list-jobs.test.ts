// Lists of jobs: by filter, newest first, each job once.

import type { JobFilter } from 'millrace/admin'
import { describe, expect, it } from 'vitest'
import type { JobState } from '../../core/wire.ts'
import { idsOf, useAdmin } from '../support/admin.ts'
import { claimAll, close, completed, enqueue, failed, fatal, only, ref, running } from '../support/engine-database.ts'

const database = useAdmin()
const jobs = () => database.admin.jobs
const list = async (filter: JobFilter = {}) => idsOf((await jobs().list(filter)).items)

const newestFirst = (ids: readonly string[]) => [...ids].sort((a, b) => Number(b) - Number(a))

/** One job in each state, by its state. */
async function oneOfEach(): Promise<Record<JobState, string>> {
  const [done, again, dead] = [await running(database), await running(database), await running(database)]
  await close(database, done, completed)
  await close(database, again, failed('x', 60_000))
  await close(database, dead, fatal)
  const parked = await running(database)
  await database.engine.park([ref(parked)], 60)
  const { id: busy } = await running(database)
  const [cancelled, scheduled, available] = [
    ...(await enqueue(database.sql)),
    ...(await enqueue(database.sql, 1, { delay_seconds: 60 })),
    ...(await enqueue(database.sql)),
  ] as [string, string, string]
  await jobs().cancel([cancelled])
  return {
    ...{ completed: done.id, retryable: again.id, failed: dead.id, waiting_external: parked.id, running: busy },
    ...{ cancelled, scheduled, available },
  }
}

describe('a list of jobs', () => {
  it('is empty when there are none', async () => {
    expect(await jobs().list()).toEqual({ items: [], cursor: null })
  })

  it('has jobs in every state, newest first, and each as itself', async () => {
    const each = await oneOfEach()
    const { items, cursor } = await jobs().list()
    expect(cursor).toBeNull()
    expect(Object.fromEntries(items.map(({ state, id }) => [state, String(id)]))).toEqual(each)
    expect(idsOf(items)).toEqual(newestFirst(Object.values(each)))
  })

  it.each([
    'completed',
    'retryable',
    'failed',
    'waiting_external',
    'running',
    'cancelled',
    'scheduled',
    'available',
  ] as const)('by state %s, alone and with another one', async state => {
    const each = await oneOfEach()
    expect(await list({ state })).toEqual([each[state]])
    for (const other of ['completed', 'failed', 'scheduled', 'available'] as const) {
      expect(await list({ state: [state, other] })).toEqual(newestFirst([...new Set([each[state], each[other]])]))
    }
  })

  it('of running jobs starts at the newest claimed one, also when a claim found nothing but cancelled jobs', async () => {
    const { id: busy } = await running(database)
    await jobs().cancel(await enqueue(database.sql))
    expect(await claimAll(database)).toEqual([])
    await enqueue(database.sql)
    const [row] = await database.sql`select millrace.claimed_below(1000000)::text as id`
    expect(row).toEqual({ id: String(Number(busy) + 1) })
  })

  it('shows a row without what is large, or all of the job', async () => {
    const job = await running(database, { queue: 'mails', priority: 3, metadata: { tenant: 'x' } })
    await close(database, job, failed('no such host', 60_000))
    const row = only((await jobs().list()).items)
    expect(row).toEqual({
      ...{ id: Number(job.id), kind: 'resize', queue: 'mails', priority: 3, state: 'retryable', attempt: 2 },
      ...{ max_attempts: 25, tags: [], unique_key: null, finished_at: null, wait: null },
      ...{ enqueued_at: expect.any(String), run_at: expect.any(String) },
      error: { attempt: 1, at: expect.any(String), code: 'reported', message: 'no such host' },
    })
    const whole = only((await jobs().list({}, { full: true })).items)
    expect(whole).toMatchObject({ args: { n: 0 }, metadata: { tenant: 'x' }, errors: [{ attempt: 1 }] })
  })

  it('by kind, queue, tag, ids and time of enqueueing, all of which must hold', async () => {
    const [a] = (await enqueue(database.sql, 1, { queue: 'a' })) as [string]
    const [b] = (await enqueue(database.sql, 1, { queue: 'b' }, 'mail')) as [string]
    const [later] = (await enqueue(database.sql, 1, { queue: 'b', delay_seconds: 60 }, 'mail')) as [string]
    const [row] = await database.sql`select millrace.enqueue('mail', '{}', tags => '{red,blue}')::text as id`
    const tagged = row?.id as string
    expect(await list({ kind: 'mail' })).toEqual([tagged, later, b])
    expect(await list({ queue: 'b' })).toEqual([later, b])
    expect(await list({ queue: 'b', state: 'scheduled' })).toEqual([later])
    expect(await list({ queue: 'nowhere' })).toEqual([])
    expect(await list({ tag: 'blue' })).toEqual([tagged])
    expect(await list({ ids: [a, later, '999999999'] })).toEqual([later, a])
    expect(await list({ ids: [a, later], kind: 'mail' })).toEqual([later])
    expect(await list({ ids: [a, later], state: 'available' })).toEqual([a])
    const at = (await jobs().list({ ids: [b] })).items[0]?.enqueued_at ?? ''
    expect(await list({ enqueuedBefore: at })).toEqual([a])
    expect(await list({ enqueuedAfter: at })).toEqual([tagged, later, b])
  })

  it('by unique key: the job that holds it', async () => {
    const [row] = await database.sql`select millrace.enqueue('mail', '{}', unique_key => 'k')::text as id`
    await enqueue(database.sql, 3)
    expect(await list({ uniqueKey: 'k' })).toEqual([row?.id])
    expect(await list({ uniqueKey: 'other' })).toEqual([])
  })

  it('has a job once, however many attempts it had and wherever it stands', async () => {
    const job = await running(database)
    await close(database, job, failed('one', 60_000))
    await database.rotate()
    await database.sql`update millrace.deferred set run_at = now()`
    await database.engine.promote(10)
    expect(await list()).toEqual([job.id])
    const [second] = await claimAll(database)
    await close(database, second ?? job, fatal)
    expect(await list()).toEqual([job.id])
    expect(await list({ state: 'failed' })).toEqual([job.id])
    await jobs().retry([job.id])
    expect(await list({ state: 'failed' })).toEqual([])
    expect(await list({ state: ['failed', 'cancelled'] })).toEqual([])
    expect(await list({ state: 'available' })).toEqual([job.id])
    await jobs().cancel([job.id])
    expect(await list({ state: ['failed', 'cancelled'] })).toEqual([job.id])
  })

  it('has what outlived its segment: carried, deferred, dead letters and the archive', async () => {
    await database.sql`insert into millrace.queue (name, retention_seconds) values ('kept', 1e7)`
    const [later] = (await enqueue(database.sql, 1, { delay_seconds: 600 })) as [string]
    const dead = await running(database, { queue: 'dead' })
    await close(database, dead, fatal)
    const kept = await running(database, { queue: 'kept' })
    await close(database, kept, completed)
    const open = await running(database)
    await database.prune()
    const all = newestFirst([open.id, later, dead.id, kept.id])
    expect(await list()).toEqual(all)
    expect(await list({ state: 'completed' })).toEqual([kept.id])
    expect(await list({ state: 'failed', queue: 'dead' })).toEqual([dead.id])
    expect(await list({ queue: 'kept' })).toEqual([kept.id])
    expect(await list({ ids: all })).toEqual(all)
    expect(await list({ state: 'running' })).toEqual([open.id])
  })
})

describe('a list refuses', () => {
  it.each([
    ['a filter that there is not', { colour: 'red' }],
    ['a state that there is not', { state: 'done' }],
    ['a filter of the wrong type', { kind: 3 }],
    ['times that are none', { enqueuedAfter: 'soon' }],
    ['ids that are none', { ids: ['x'] }],
  ])('%s', async (_, filter) => {
    await expect(jobs().list(filter as JobFilter)).rejects.toMatchObject({ code: 'invalid_request' })
  })

  it('a cursor or a limit that is none', async () => {
    await expect(jobs().list({}, { cursor: 'x' })).rejects.toMatchObject({ code: 'invalid_request' })
    await expect(jobs().list({}, { limit: 0 })).rejects.toMatchObject({ code: 'invalid_request' })
  })
})
