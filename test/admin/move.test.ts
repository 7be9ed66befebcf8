// Moving jobs that wait into another queue or priority, against dispatchers that claim all the while.

import { admin } from 'millrace/admin'
import { describe, expect, it, vi } from 'vitest'
import { useAdmin } from '../support/admin.ts'
import {
  claim,
  claimAll,
  close,
  completed,
  enqueue,
  failed,
  only,
  ref,
  running,
  view,
} from '../support/engine-database.ts'

const database = useAdmin()
const move = (ids: readonly string[], lane: { queue?: string; priority?: number }) =>
  database.admin.jobs.move(ids, lane)

describe('a job that waits', () => {
  it('deferred, stays as it is but for its lane', async () => {
    const [id] = (await enqueue(database.sql, 1, { delay_seconds: 60 })) as [string]
    expect(await move([id], { queue: 'slow', priority: 4 })).toEqual([
      { id: Number(id), state: 'scheduled', moved: true, problem: null },
    ])
    expect(await view(database, id)).toMatchObject({ queue: 'slow', priority: 4, attempt: 1, state: 'scheduled' })
  })

  it('for its retry, too', async () => {
    const job = await running(database)
    await close(database, job, failed('x', 60_000))
    await move([job.id], { priority: 1 })
    expect(await view(database, job.id)).toMatchObject({
      queue: 'default',
      priority: 1,
      attempt: 2,
      state: 'retryable',
    })
  })

  it('available, goes on under the next number, with as many attempts left, and is claimed once, from there', async () => {
    const [id] = (await enqueue(database.sql, 1, { max_attempts: 3, metadata: { tenant: 'x' } })) as [string]
    const before = await view(database, id)
    expect(await move([id], { queue: 'slow' })).toMatchObject([{ moved: true, state: 'available' }])
    const moved = { queue: 'slow', priority: 2, attempt: 2, max_attempts: 4, metadata: { tenant: 'x' } }
    expect(await view(database, id)).toMatchObject({ ...moved, enqueued_at: before.enqueued_at, run_at: before.run_at })
    const jobs = await claimAll(database)
    expect(jobs).toMatchObject([{ id, queue: 'slow', attempt: 2 }])
    expect(await close(database, only(jobs), completed)).toEqual({ state: 'completed', fresh: true })
    expect(await claimAll(database)).toEqual([])
  })

  it('keeps its order among those that are moved with it', async () => {
    const ids = await enqueue(database.sql, 20)
    await move([...ids].reverse(), { queue: 'slow' })
    expect((await claimAll(database)).map(({ id }) => id)).toEqual(ids)
  })

  it('can be moved on and back', async () => {
    const [id] = (await enqueue(database.sql)) as [string]
    for (const queue of ['a', 'b', 'default', 'a']) await move([id], { queue })
    expect(await claimAll(database)).toMatchObject([{ id, queue: 'a', attempt: 5 }])
    expect(await claimAll(database)).toEqual([])
  })

  it('from a sealed segment goes into the newest one', async () => {
    const [id] = (await enqueue(database.sql)) as [string]
    await database.rotate()
    await move([id], { priority: 1 })
    expect(await claimAll(database)).toMatchObject([{ id, segment: '1', attempt: 2 }])
    expect(await claimAll(database)).toEqual([])
  })

  it('stays in its shard', async () => {
    await database.sql`insert into millrace.queue (name, shards) values ('wide', 8), ('other', 8), ('narrow', 2)`
    await database.sql`select millrace.enqueue('resize', '{}', queue => 'wide', ordering_key => n::text) from generate_series(1, 40) n`
    const shards = () => database.sql`
      select j.id, l.shard from millrace.job_log j join millrace.lane l on l.id = j.lane
      where not exists (select from millrace.outcome_log o where o.id = j.id and o.attempt = j.attempt) order by j.id`
    const before = await shards()
    const ids = before.map(({ id }) => String(id))
    await move(ids, { queue: 'other' })
    expect(await shards()).toEqual(before)
    await move(ids, { queue: 'narrow' })
    expect(await shards()).toEqual(before.map(({ id, shard }) => ({ id, shard: shard % 2 })))
  })
})

describe('left as it is', () => {
  it('is a job that runs, waits for its callback, has ended, is there already, or is none', async () => {
    const [busy, parked, done] = [await running(database), await running(database), await running(database)]
    await database.engine.park([ref(parked)], 60)
    await close(database, done, completed)
    const [there] = (await enqueue(database.sql, 1, { queue: 'slow' })) as [string]
    const answers = await move([busy.id, parked.id, done.id, there, '987654'], { queue: 'slow' })
    expect(answers.map(({ state, moved, problem }) => [state, moved, problem])).toEqual([
      ['running', false, 'not_movable'],
      ['waiting_external', false, 'not_movable'],
      ['completed', false, 'not_movable'],
      ['available', false, null],
      [null, false, 'not_found'],
    ])
    expect(await close(database, busy, completed)).toMatchObject({ fresh: true })
  })

  it.each([
    [{ priority: 5 }, 'invalid_priority'],
    [{ priority: 0 }, 'invalid_priority'],
    [{ queue: '' }, 'invalid_queue'],
    [{ queue: 'x'.repeat(201) }, 'invalid_queue'],
  ])('is everything when the lane is none: %o', async (lane, code) => {
    await expect(move([], lane)).rejects.toMatchObject({ code })
  })
})

describe('beside claims', () => {
  it('the lane is passed over until the move commits, and has nothing left then', async () => {
    const ids = await enqueue(database.sql, 3)
    const runtime = await database.engine.runtimeStart('test')
    const mover = await database.connect()
    await mover`begin`
    await admin(mover).jobs.move(ids, { queue: 'slow' })
    expect(await claim(database.sql, runtime, 10)).toEqual([])
    await mover`commit`
    expect(await database.engine.claim(runtime, 10)).toMatchObject(ids.map(id => ({ id, attempt: 2, queue: 'slow' })))
  })

  it('a move that is undone leaves the jobs to be claimed where they were', async () => {
    const ids = await enqueue(database.sql, 3)
    const mover = await database.connect()
    await mover`begin`
    await admin(mover).jobs.move(ids, { queue: 'slow' })
    await mover`rollback`
    expect(await claimAll(database)).toMatchObject(ids.map(id => ({ id, attempt: 1, queue: 'default' })))
  })

  it('a claim that looked where to claim before a move, and comes there after it, does not claim what was moved', async () => {
    const [first] = (await enqueue(database.sql, 1, { priority: 1 })) as [string]
    const ids = await enqueue(database.sql, 3, { priority: 2 })
    const runtime = await database.engine.runtimeStart('test')
    // The row that the claim is about to write for the first lane: it waits there.
    const blocker = await database.connect()
    await blocker`begin`
    await blocker`
      insert into millrace.claim_log (lane, n, runtime, slot, prev, cur, ids, attempts, span)
      select id, 1, 0, 0, '1:1:', '1:1:', '{}', '{}', 'empty' from millrace.lane where priority = 1`
    const claimed = database.engine.claim(runtime, 10)
    await vi.waitFor(async () => {
      const waiting = await database.sql`
        select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%claim%'`
      expect(waiting).toHaveLength(1)
    })
    await move(ids, { queue: 'slow' })
    await blocker`rollback`
    expect(await claimed).toMatchObject([{ id: first }])
    expect(await claimAll(database)).toMatchObject(ids.map(id => ({ id, attempt: 2 })))
  })

  it('every job is handed out exactly once while it is moved to and fro', async () => {
    const JOBS = 400
    const ids = new Set(await enqueue(database.sql, JOBS))
    const handed: string[] = []
    const sessions = await database.connections(5)
    let done = false
    const claimers = sessions.slice(0, 3).map(async sql => {
      const runtime = await database.engine.runtimeStart('claimer')
      while (handed.length < JOBS && !done) handed.push(...(await claim(sql, runtime, 3)))
    })
    const movers = sessions.slice(3).map(async (sql, n) => {
      for (let lap = 0; handed.length < JOBS && !done; lap++) {
        const waiting = [...ids].filter(id => !handed.includes(id)).slice(n * 20, n * 20 + 60)
        await admin(sql).jobs.move(waiting, { queue: `q${lap % 3}`, priority: (lap % 4) + 1 })
      }
    })
    const timer = setTimeout(() => {
      done = true
    }, 15_000)
    await Promise.all([...claimers, ...movers])
    clearTimeout(timer)
    expect([...handed].sort()).toEqual([...ids].sort())
    const [open] = await database.sql`
      select count(*)::int as n from millrace.job_log j
      where not exists (select from millrace.outcome_log o where o.id = j.id and o.attempt = j.attempt)`
    expect(open?.n).toBe(JOBS)
  })
})
