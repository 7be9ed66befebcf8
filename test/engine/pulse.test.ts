// The pulse: one statement that beats, leads and tells what is due, so that nothing else has to be asked.

import { toSql } from 'millrace'
import { describe, expect, it } from 'vitest'
import { MaintenanceEngine, type PulseQuestion } from '../../core/maintenance-engine.ts'
import { claimAll, close, completed, enqueue, only, running, useEngine } from '../support/engine-database.ts'

const database = useEngine()

async function pulse(question: Partial<PulseQuestion> = {}) {
  const runtime = question.runtime ?? (await database.engine.runtimeStart('pulsing'))
  const engine = new MaintenanceEngine(toSql(database.sql))
  return engine.pulse({ runtime, holder: 'me', everyMs: 40_000, asleep: true, ...question })
}

describe('the pulse beats', () => {
  const lostIn = async () =>
    only(await database.sql`select extract(epoch from lost_at - now())::float8 as seconds from millrace.runtime`)
      .seconds

  it('three times within what makes a runtime lost while awake; asleep that takes three pulses', async () => {
    const runtime = await database.engine.runtimeStart('me')
    expect((await pulse({ runtime, asleep: true, everyMs: 40_000 })).beatMs).toBe(40_000)
    expect(await lostIn()).toBeCloseTo(120, 0)
    expect((await pulse({ runtime, asleep: false, everyMs: 30_000 })).beatMs).toBe(15_000)
    expect((await pulse({ runtime, asleep: false, everyMs: 2_000 })).beatMs).toBe(2_000)
    expect(await lostIn()).toBeCloseTo(45, 0)
  })

  it('and tells a runtime that was given up', async () => {
    expect((await pulse({ runtime: '999999' })).beatMs).toBeUndefined()
  })
})

describe('the pulse leads', () => {
  it('when nobody does, and tells others when the lease is over', async () => {
    expect(await pulse({ holder: 'a' })).toMatchObject({ epoch: '1', leaseMs: undefined })
    const other = await pulse({ holder: 'b' })
    expect(other.epoch).toBeUndefined()
    expect(other.leaseMs).toBeGreaterThan(110_000)
    expect(other.leaseMs).toBeLessThanOrEqual(120_000)
  })

  it('not, when asked by one that does not want to', async () => {
    expect((await pulse({ holder: undefined })).epoch).toBeUndefined()
    expect(await database.sql`select from millrace.leader`).toHaveLength(0)
  })
})

describe('the pulse tells', () => {
  it('nothing of an empty database', async () => {
    expect(await pulse()).toEqual({
      ...{ beatMs: 40_000, epoch: '1', leaseMs: undefined },
      ...{ promoteMs: undefined, rescueMs: undefined, fireMs: undefined, work: false, chores: [] },
    })
  })

  it('when the next deferred job is due', async () => {
    await enqueue(database.sql, 1, { delay_seconds: 60 })
    await enqueue(database.sql, 1, { delay_seconds: 30 })
    const { promoteMs } = await pulse()
    expect(promoteMs).toBeGreaterThan(29_000)
    expect(promoteMs).toBeLessThanOrEqual(30_000)
  })

  it('when another runtime counts as lost', async () => {
    await database.engine.runtimeStart('other')
    expect((await pulse()).rescueMs).toBeGreaterThan(44_000)
    await database.sql`update millrace.runtime set lost_at = now() - interval '1 second'`
    expect((await pulse()).rescueMs).toBeLessThan(0)
  })

  it('when an accepted attempt will have been silent for too long, and no more once it is closed', async () => {
    const runtime = await database.engine.runtimeStart('me')
    await enqueue(database.sql, 2)
    const jobs = await database.engine.claim(runtime, 2)
    await database.engine.park(jobs, 60)
    expect((await pulse({ runtime })).rescueMs).toBeGreaterThan(59_000)
    expect((await pulse({ runtime, asleep: false })).rescueMs).toBeUndefined()
    await database.sql`update millrace.park_log set deadline = now() - interval '1 second'`
    expect((await pulse({ runtime, asleep: false })).rescueMs).toBeLessThan(0)
    for (const job of jobs) await close(database, job, completed)
    expect((await pulse({ runtime })).rescueMs).toBeUndefined()
    expect((await pulse({ runtime, asleep: false })).rescueMs).toBeUndefined()
  })

  it('of a heartbeat whose next one is due', async () => {
    const runtime = await database.engine.runtimeStart('me')
    await enqueue(database.sql)
    const { segment, id, attempt } = only(await database.engine.claim(runtime, 1))
    await database.engine.heartbeat([{ segment, id, attempt, timeoutSeconds: 20 }])
    const { rescueMs } = await pulse({ runtime })
    expect(rescueMs).toBeGreaterThan(19_000)
    expect(rescueMs).toBeLessThanOrEqual(20_000)
  })

  it('of work that waits, until it is claimed', async () => {
    await enqueue(database.sql, 3)
    expect((await pulse()).work).toBe(true)
    expect((await pulse({ holder: undefined })).work).toBe(true)
    await claimAll(database)
    expect((await pulse()).work).toBe(false)
    // Batches that end exactly at a window's end.
    await enqueue(database.sql, 2)
    await claimAll(database, 1)
    expect((await pulse()).work).toBe(true)
    await claimAll(database, 1)
    expect((await pulse()).work).toBe(false)
  })

  it('of work whose transaction was open when its lane was claimed', async () => {
    const slow = await database.connect()
    await slow`begin`
    await enqueue(slow)
    await enqueue(database.sql)
    await claimAll(database)
    expect((await pulse()).work).toBe(false)
    await slow`commit`
    expect((await pulse()).work).toBe(true)
    await claimAll(database)
    expect((await pulse()).work).toBe(false)
  })

  it('nothing of jobs that were cancelled before they were claimed, once a claim has passed them', async () => {
    const [id = ''] = await enqueue(database.sql)
    await database.sql`select millrace.cancel(array[${id}::text::bigint])`
    expect(await claimAll(database)).toEqual([])
    expect((await pulse()).work).toBe(false)
  })

  it('nothing of work in a queue that is paused', async () => {
    await enqueue(database.sql, 1, { queue: 'later' })
    await database.sql`insert into millrace.queue (name, paused_at) values ('later', now())`
    expect((await pulse()).work).toBe(false)
  })
})

describe('the pulse tells the leader', () => {
  const chores = async () => (await pulse()).chores

  it('to rotate a segment that is old and not empty', async () => {
    await database.sql`update millrace.segment set opened_at = now() - interval '5 hours'`
    expect(await chores()).toEqual([])
    await running(database)
    expect(await chores()).toEqual(['rotate'])
    await database.sql`update millrace.segment set opened_at = now()`
  })

  it('to survey lanes that wait, unless their queue is paused', async () => {
    await enqueue(database.sql, 1, { queue: 'mails' })
    await database.sql`select millrace.survey()`
    expect(await chores()).toEqual(['survey'])
    await database.sql`select millrace.pause_queue('mails', 'mia')`
    expect(await chores()).toEqual([])
  })

  it('to prune and to survey sealed segments', async () => {
    await database.sql`insert into millrace.segment (number) values (1)`
    expect(await chores()).toEqual(['survey'])
    await database.sql`update millrace.segment set drained = true where number = 0`
    await database.sql`update millrace.segment set opened_at = now() - interval '2 days'`
    expect(await chores()).toEqual(['prune'])
    await database.sql`update millrace.segment set opened_at = now(), drained = false`
  })

  it('to go on with batches, and to delete what has expired', async () => {
    await database.sql`insert into millrace.batch (operation, filter, params, upper_id) values ('cancel', '{}', '{}', 1)`
    await database.sql`insert into millrace.archive values (1, now(), '{}'), (2, now() + interval '1 hour', '{}')`
    expect(await chores()).toEqual(['batches', 'expire'])
    const engine = new MaintenanceEngine(toSql(database.sql))
    expect(await engine.expire('1', 10)).toBe(1)
    expect(await engine.expire('1', 10)).toBe(0)
    await expect(engine.expire('2', 10)).rejects.toMatchObject({ code: 'not_leader' })
    await database.sql`delete from millrace.archive`
  })

  it('and nobody else', async () => {
    await database.sql`insert into millrace.archive values (1, now(), '{}')`
    await pulse({ holder: 'another' })
    expect((await pulse()).chores).toEqual([])
    await database.sql`delete from millrace.archive`
  })
})
