// Aging: what has waited for long is served as if its priority were better, a little at a time.

import { beforeEach, describe, expect, it } from 'vitest'
import { claimAll, enqueue, useEngine, view } from '../support/engine-database.ts'

const database = useEngine()
const ids = (jobs: readonly { id: string }[]) => jobs.map(({ id }) => id)

beforeEach(async () => {
  await database.sql`update millrace.setting set value = 60 where name = 'aging_seconds'`
})

/** Enqueues jobs that have been waiting for so many seconds, and lets the leader look. */
async function waiting(count: number, priority: number, seconds: number): Promise<string[]> {
  const enqueued = await enqueue(database.sql, count, { priority })
  await database.sql`
    update millrace.job_log set enqueued_at = enqueued_at - make_interval(secs => ${seconds})
    where id >= ${enqueued[0] as string}::text::bigint`
  await database.sql`select millrace.survey()`
  return enqueued
}

/** Claims in fours, of which one is for those who have waited for long. */
const claim = async (max = 4) => ids(await claimAll(database, max))

describe('a job of priority 4', () => {
  it('that has waited for three steps is served before fresh ones of priority 1', async () => {
    const [old] = await waiting(1, 4, 181)
    const fresh = await enqueue(database.sql, 8, { priority: 1 })
    expect(await claim()).toEqual([old, ...fresh.slice(0, 3)])
    expect(await view(database, old as string)).toMatchObject({ priority: 4 })
  })

  it('that has waited for two steps is served before fresh ones of priority 2, and after those of priority 1', async () => {
    const [old] = await waiting(1, 4, 130)
    await enqueue(database.sql, 8, { priority: 2 })
    const first = await enqueue(database.sql, 3, { priority: 1 })
    expect(await claim()).toEqual([...first, old])
  })

  it('that has waited for less than a step waits on', async () => {
    await waiting(1, 4, 59)
    const fresh = await enqueue(database.sql, 5, { priority: 3 })
    expect(await claim()).toEqual(fresh.slice(0, 4))
  })

  it('waits on without aging', async () => {
    await database.sql`update millrace.setting set value = 0 where name = 'aging_seconds'`
    await waiting(1, 4, 1e6)
    const fresh = await enqueue(database.sql, 5, { priority: 1 })
    expect(await claim()).toEqual(fresh.slice(0, 4))
  })

  it('counts from when it became available, not from when it was enqueued', async () => {
    const [scheduled] = await enqueue(database.sql, 1, { priority: 4, delay_seconds: 3600 })
    await database.sql`update millrace.deferred set enqueued_at = now() - interval '1 day', run_at = now()`
    await database.engine.promote(10)
    await database.sql`select millrace.survey()`
    const fresh = await enqueue(database.sql, 3, { priority: 1 })
    expect(await claim()).toEqual([...fresh, scheduled])
  })
})

describe('a backlog of priority 4', () => {
  it('that has waited for long takes a quarter, and all of what is left', async () => {
    const old = await waiting(40, 4, 1_000)
    const fresh = await enqueue(database.sql, 12, { priority: 1 })
    expect(await claim(16)).toEqual([...old.slice(0, 4), ...fresh])
    expect(await claim(16)).toEqual(old.slice(4, 20))
  })

  it('takes a quarter of claims of one job, too', async () => {
    await waiting(200, 4, 1_000)
    const fresh = await enqueue(database.sql, 400, { priority: 1 })
    const claimed: string[] = []
    for (let n = 0; n < 200; n++) claimed.push(...(await claim(1)))
    // 50 are expected; fewer than 15 or more than 90 come once in a thousand million times.
    const urgent = claimed.filter(id => fresh.includes(id)).length
    expect(claimed.length - urgent).toBeGreaterThan(14)
    expect(claimed.length - urgent).toBeLessThan(91)
  })

  it('is forgotten once it is gone', async () => {
    await waiting(2, 4, 1_000)
    expect(await database.sql`select from millrace.lane_head`).toHaveLength(1)
    await claim()
    await database.sql`select millrace.survey()`
    expect(await database.sql`select from millrace.lane_head`).toHaveLength(0)
  })
})
