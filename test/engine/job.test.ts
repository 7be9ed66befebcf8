// One job as users see it: its state, derived from the logs, at every point of its life.

import { describe, expect, it } from 'vitest'
import {
  claim,
  claimAgain,
  close,
  completed,
  enqueue,
  failed,
  putBack,
  ref,
  released,
  running,
  useEngine,
  view,
} from '../support/engine-database.ts'

const database = useEngine()
const state = async (id: string | undefined) => (await view(database, id ?? '')).state
const states = (ids: readonly string[]) => Promise.all(ids.map(state))

describe('the state of a job', () => {
  it('is scheduled until its time has come', async () => {
    const [id] = await enqueue(database.sql, 1, { delay_seconds: 60 })
    expect(await state(id)).toBe('scheduled')
  })

  it('is available once enqueued, also to the transaction that does so', async () => {
    const caller = await database.connect()
    await caller`begin`
    const [id] = await enqueue(caller)
    const [own] = await caller`select millrace.job(${id as string}) ->> 'state' as state`
    expect(own?.state).toBe('available')
    expect(await database.engine.job(id as string)).toBeUndefined()
    await caller`commit`
    expect(await state(id)).toBe('available')
  })

  it('is running once claimed, waiting_external once parked, completed once closed', async () => {
    const job = await running(database)
    expect(await state(job.id)).toBe('running')
    await database.engine.park([job], 60)
    expect(await state(job.id)).toBe('waiting_external')
    await close(database, job, completed)
    expect(await state(job.id)).toBe('completed')
  })

  it('is retryable between attempts, then available and running again', async () => {
    const job = await running(database)
    await close(database, job, failed())
    expect(await state(job.id)).toBe('retryable')
    await database.sql`update millrace.deferred set run_at = now()`
    await database.engine.promote(1)
    expect(await state(job.id)).toBe('available')
    await claimAgain(database)
    expect(await state(job.id)).toBe('running')
  })

  it('is scheduled when put back, available when handed back', async () => {
    const [busy, drained] = [await running(database), await running(database)]
    await close(database, busy, putBack(60_000))
    await close(database, drained, released)
    expect(await states([busy.id, drained.id])).toEqual(['scheduled', 'available'])
  })

  it('is failed or cancelled at the other ends', async () => {
    const [lost, stopped] = [await running(database, { max_attempts: 1 }), await running(database)]
    await close(database, lost, failed())
    await database.sql`insert into millrace.outcome_log (id, attempt, slot, state) values (${stopped.id}, 1, 0, 'x')`
    expect(await states([lost.id, stopped.id])).toEqual(['failed', 'cancelled'])
    expect((await view(database, stopped.id)).finished_at).not.toBeNull()
  })

  it('changes exactly at the edge of a window that is read in part', async () => {
    const runtime = await database.engine.runtimeStart('test')
    const early = await database.connect()
    const late = await database.connect()
    await early`begin`
    const held = await enqueue(early, 3)
    const first = await enqueue(late, 4)
    await claim(database.sql, runtime, 2)
    expect(await states([...first])).toEqual(['running', 'running', 'available', 'available'])
    await early`commit`
    expect(await states(held)).toEqual(['available', 'available', 'available'])
    await claim(database.sql, runtime, 2)
    expect(await states([...first, ...held])).toEqual([...Array(4).fill('running'), ...Array(3).fill('available')])

    const next = await enqueue(late, 2)
    await claim(database.sql, runtime, 1)
    expect(await states(held)).toEqual(['running', 'available', 'available'])
    await claim(database.sql, runtime, 3)
    expect(await states([...held, ...next])).toEqual(['running', 'running', 'running', 'running', 'available'])
    await claim(database.sql, runtime, 3)
    expect(await states(next)).toEqual(['running', 'running'])
  })

  it('is told of each lane and each segment by its own cursor', async () => {
    const runtime = await database.engine.runtimeStart('test')
    const urgent = await enqueue(database.sql, 2, { priority: 1 })
    const other = await enqueue(database.sql, 2, { priority: 3 })
    await database.sql`insert into millrace.segment (number) values (1)`
    const young = await enqueue(database.sql, 2, { priority: 1 })
    await claim(database.sql, runtime, 3)
    expect(await states([...urgent, ...young, ...other])).toEqual([
      ...['running', 'running', 'running', 'available', 'available', 'available'],
    ])
  })
})

describe('a job', () => {
  it('that does not exist is nothing', async () => {
    expect(await database.engine.job('987654321')).toBeUndefined()
    expect(await database.engine.job('-1')).toBeUndefined()
  })

  it('is shown as it was enqueued', async () => {
    const [row] = await database.sql<{ id: string }[]>`
      select millrace.enqueue('resize', '{"width": 8}', queue => 'images', priority => 3, max_attempts => 7,
        tags => '{a,b}', metadata => '{"tenant": "x"}') as id`
    expect(await view(database, row?.id ?? '')).toMatchObject({
      ...{ id: Number(row?.id), kind: 'resize', args: { width: 8 }, queue: 'images', priority: 3, max_attempts: 7 },
      ...{ tags: ['a', 'b'], metadata: { tenant: 'x' }, attempt: 1, errors: [], put_back: null, result: null },
      ...{ progress: null, attempted_at: null, finished_at: null },
    })
  })

  it('tells when its present attempt began, not an earlier one', async () => {
    const job = await running(database)
    const first = await view(database, job.id)
    await close(database, job, failed())
    expect((await view(database, job.id)).attempted_at).toBeNull()
    await claimAgain(database)
    const second = await view(database, job.id)
    const at = (text: string | null) => Date.parse(text ?? '')
    expect(at(second.attempted_at)).toBeGreaterThan(at(first.attempted_at))
    expect(at(second.attempted_at)).toBeGreaterThanOrEqual(at(second.run_at))
    expect(second.enqueued_at).toBe(first.enqueued_at)
  })

  it('keeps the errors of all its attempts, and its result', async () => {
    const job = await running(database)
    await close(database, job, failed('one'))
    const [second] = await claimAgain(database)
    await close(database, second ?? job, failed('two'))
    const [third] = await claimAgain(database)
    await close(database, third ?? job, { kind: 'completed', result: { pages: 3 } })
    const done = await view(database, job.id)
    expect(done).toMatchObject({ state: 'completed', attempt: 3, result: { pages: 3 } })
    expect(done.errors).toMatchObject([
      { attempt: 1, message: 'one' },
      { attempt: 2, message: 'two' },
    ])
    expect(ref(job).attempt).toBe(1)
  })
})
