// Numbers for operators: exact while they are small, estimates that say so when they are not.

import { describe, expect, it } from 'vitest'
import {
  claimAll,
  close,
  completed,
  enqueue,
  enqueueBulk,
  failed,
  fatal,
  only,
  ref,
  useEngine,
} from '../support/engine-database.ts'
import { prune, setQueue } from '../support/queues.ts'

const database = useEngine()
const mails = { queue: 'mails' }

const stats = async (queue: string) =>
  only([...(await database.sql`select * from millrace.queue_stats() where queue = ${queue}`)]) as Record<
    string,
    unknown
  >
const kindStats = async (kind: string) =>
  only([...(await database.sql`select * from millrace.kind_stats() where kind = ${kind}`)]) as Record<string, unknown>

const NOTHING = {
  ...{ available: '0', scheduled: '0', retryable: '0', running: '0', waiting_external: '0', dead_letters: '0' },
  ...{ completed_last_hour: '0', failed_last_hour: '0', cancelled_last_hour: '0', lag_seconds: null, estimated: [] },
}

/** One job or more in every state. */
async function everyState() {
  await enqueue(database.sql, 10, { ...mails, max_attempts: 5 })
  const [running, parked, broken, dead, ...done] = await claimAll(database, 7)
  await database.engine.park([ref(parked as never)], 60)
  await close(database, broken as never, failed('broken', 60_000))
  await close(database, dead as never, fatal)
  for (const job of done.slice(1)) await close(database, job, completed)
  await database.sql`select millrace.cancel(array[${done[0]?.id as string}::bigint])`
  await enqueue(database.sql, 4, { ...mails, delay_seconds: 60 })
  await enqueue(database.sql, 3, { ...mails, priority: 1 }, 'other')
  return { running }
}

const EVERY_STATE = {
  ...{ scheduled: '4', retryable: '1', running: '1', waiting_external: '1', dead_letters: '1' },
  ...{ completed_last_hour: '2', failed_last_hour: '1', cancelled_last_hour: '1', estimated: [] },
}

describe('statistics of a queue', () => {
  it('count every state', async () => {
    await everyState()
    await enqueue(database.sql, 2, { queue: 'others' })
    expect(await stats('mails')).toMatchObject({ ...EVERY_STATE, available: '6' })
    expect(await stats('others')).toMatchObject({ ...NOTHING, available: '2', lag_seconds: expect.any(Number) })
  })

  it('tell what is declared of it and done to it, though it was never used', async () => {
    await setQueue(database.sql, 'mails', { max_running: 5, rate: 2.5, key_rate: 1, weight: 3, shards: 2 })
    await database.sql`select millrace.pause_queue('mails', 'mia')`
    expect(await stats('mails')).toMatchObject({
      ...NOTHING,
      ...{ max_running: 5, rate: 2.5, burst: null, key_rate: 1, weight: 3, shards: 2, paused_by: 'mia' },
      paused_at: expect.any(Date),
    })
  })

  it('do not count what was cancelled before it was claimed', async () => {
    const ids = await enqueue(database.sql, 5, mails)
    await database.sql`select millrace.cancel(array[${ids[0] as string}, ${ids[4] as string}]::bigint[])`
    expect(await stats('mails')).toMatchObject({ available: '3', cancelled_last_hour: '2' })
  })

  it('tell for how long the first job has waited', async () => {
    await enqueue(database.sql, 1, mails)
    await enqueue(database.sql, 1, { ...mails, priority: 4 })
    await database.sql`
      update millrace.job_log set enqueued_at = now() - interval '90 seconds' where id = (select max(id) from millrace.job_log)`
    const { lag_seconds } = await stats('mails')
    expect(lag_seconds).toBeGreaterThanOrEqual(90)
    expect(lag_seconds).toBeLessThan(120)
  })

  it('go on over a rotation, and over attempts that were carried', async () => {
    const { running } = await everyState()
    await prune(database)
    await enqueue(database.sql, 2, mails)
    expect(await stats('mails')).toMatchObject({ available: '8', running: '1', waiting_external: '1' })
    await close(database, running as never, completed)
    expect(await stats('mails')).toMatchObject({ running: '0', waiting_external: '1', completed_last_hour: '1' })
  })

  it('count only what ended within the hour', async () => {
    await enqueue(database.sql, 3, mails)
    for (const job of await claimAll(database)) await close(database, job, completed)
    await database.sql`
      update millrace.outcome_log set finished_at = now() - interval '61 minutes' where id = (select min(id) from millrace.outcome_log)`
    expect(await stats('mails')).toMatchObject({ completed_last_hour: '2' })
  })
})

describe('statistics of a kind', () => {
  it('count every state', async () => {
    await everyState()
    expect(await kindStats('resize')).toMatchObject({ ...EVERY_STATE, available: '3', queue: null })
    expect(await kindStats('other')).toMatchObject({ available: '3', running: '0' })
  })

  it('name kinds that are declared and have no jobs', async () => {
    await database.sql`insert into millrace.kind (name, queue, source) values ('idle', 'mails', 'app')`
    const { lag_seconds, ...nothing } = NOTHING
    expect(await kindStats('idle')).toMatchObject({ ...nothing, queue: 'mails', source: 'app' })
    expect(lag_seconds).toBeNull()
  })
})

describe('a large backlog', () => {
  it('is counted up to a bound and estimated beyond it, and says so', async () => {
    await enqueueBulk(database.sql, 30_000)
    await enqueue(database.sql, 7, mails)
    const { available, estimated, lag_seconds } = await stats('default')
    expect(estimated).toEqual(['available'])
    expect(lag_seconds).not.toBeNull()
    // 200 pages of the same jobs, out of fewer than 600.
    expect(Number(available)).toBeGreaterThan(22_000)
    expect(Number(available)).toBeLessThan(38_000)
    expect(await stats('mails')).toMatchObject({ available: '7', estimated: [] })
    expect(await kindStats('resize')).toMatchObject({ estimated: ['available'] })
  })

  it('is not taken for larger by what was claimed of it', async () => {
    await database.sql`truncate millrace.job_log` // and with it the pages of earlier tests
    await enqueueBulk(database.sql, 4_000)
    await claimAll(database, 1_500)
    await claimAll(database, 500)
    const rows = await database.sql<{ jobs: string; exact: boolean }[]>`
      select sum(jobs) as jobs, bool_and(exact) as exact from millrace.count_available(100)`
    expect(rows).toEqual([{ jobs: '2000', exact: false }])
    expect(await stats('default')).toMatchObject({ available: '2000', running: '2000', estimated: [] })
  })
})
