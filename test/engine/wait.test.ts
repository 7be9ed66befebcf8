// Attempts that wait for named events: what they are meanwhile, what ends the wait, and what a time-out does.

import { toSql } from 'millrace'
import { describe, expect, it } from 'vitest'
import { SqlEngine } from '../../core/sql-engine.ts'
import {
  claimAgain,
  claimAll,
  close,
  completed,
  enqueue,
  failed,
  fatal,
  only,
  ref,
  running,
  useEngine,
  view,
} from '../support/engine-database.ts'
import { rotateAndPrune } from '../support/segments.ts'
import { progressOf, useWaits } from '../support/waits.ts'

const database = useEngine()
const { wait, send, waiting, rows } = useWaits(database)
const rescue = () => database.engine.rescue(100)
const nobody = { parked: 0, lost: 0, stuck: 0 }
const nothing = { waits: 0, states: 0, kept: 0 }
const at = expect.stringMatching(/^\d{4}-/)
const letTimePass = () => database.sql`update millrace.attempt_state set deadline = now() - interval '1 second'`

describe('an attempt that waits', () => {
  it('is waiting_external, and says for what, since when and until when', async () => {
    const job = await waiting({ timeoutSeconds: 3600 })
    const seen = await view(database, job.id)
    expect(seen).toMatchObject({ state: 'waiting_external', attempt: 1, wait: { name: 'payment', since: at } })
    expect(Date.parse(seen.wait?.deadline ?? '') - Date.parse(seen.wait?.since ?? '')).toBeCloseTo(3_600_000, -3)
    expect(await database.sql`select millrace.job_row(${job.id}) -> 'wait' ->> 'name' as name`).toEqual([
      { name: 'payment' },
    ])
  })

  it('waits on when it says so again, from when it first did', async () => {
    const job = await waiting()
    const before = (await view(database, job.id)).wait
    expect(await wait(job, { timeoutSeconds: 1 })).toMatchObject({ answer: 'waiting' })
    expect((await view(database, job.id)).wait).toEqual(before)
  })

  it('waits for one event: another one takes its place', async () => {
    const job = await waiting({ rules: { filter: 'payload.paid' } })
    await wait(job, { name: 'approval' })
    expect((await view(database, job.id)).wait).toMatchObject({ name: 'approval' })
    expect(await send(job.id)).toMatchObject({ answer: 'kept' })
    expect(await send(job.id, { name: 'approval' })).toMatchObject({ answer: 'applied' })
  })

  it('cannot have ended, and must exist', async () => {
    const [done, retried] = [await running(database), await running(database)]
    await close(database, done, completed)
    await close(database, retried, failed())
    expect(await wait(done)).toEqual({ answer: 'closed', state: 'completed' })
    expect(await wait(retried)).toEqual({ answer: 'closed', state: 'retryable' })
    expect(await wait({ ...done, attempt: 2 })).toMatchObject({ answer: 'unknown' })
    expect(await wait({ ...done, segment: '8' })).toMatchObject({ answer: 'unknown' })
    expect(await rows()).toEqual(nothing)
  })

  it('is not moved by heartbeats, but told that it is open', async () => {
    const job = await waiting({ progress: { percent: 50 } })
    const beat = { ...ref(job), timeoutSeconds: -60, progress: { percent: 60 } }
    expect(await database.engine.heartbeat([beat])).toEqual([{ state: 'waiting_external' }])
    expect(await rescue()).toEqual(nobody)
    expect((await view(database, job.id)).progress).toEqual({ percent: 50 })
  })

  it('is given no heed by the time limit of its kind, nor by the deadline of its callback', async () => {
    await database.sql`insert into millrace.kind (name, time_limit_seconds, source) values ('resize', 1, 'test')`
    const job = await running(database)
    await database.engine.heartbeat([{ ...ref(job), timeoutSeconds: 3600 }])
    await database.engine.park([job], -60)
    await wait(job)
    await database.sql`update millrace.park_log set at = now() - interval '1 hour'`
    await database.engine.park([job], -60)
    expect(await rescue()).toEqual(nobody)
    expect(await database.engine.heartbeat([{ ...ref(job), timeoutSeconds: 60 }])).toEqual([
      { state: 'waiting_external' },
    ])
  })

  it('outlives the dispatcher that was told so in the answer of its function', async () => {
    const job = await waiting()
    await database.sql`update millrace.runtime set lost_at = '-infinity'`
    expect(await rescue()).toEqual(nobody)
    expect(await send(job.id)).toEqual(expect.objectContaining({ answer: 'applied', state: 'available' }))
  })

  it.each([
    ['completed', completed, 'completed'],
    ['failed', fatal, 'failed'],
    ['retried', failed(), 'retryable'],
  ] as const)('may be %s by its function all the same, and waits no more', async (_, outcome, state) => {
    const job = await waiting()
    expect(await close(database, job, outcome)).toMatchObject({ state, fresh: true })
    expect(await view(database, job.id)).toMatchObject({ state, wait: null })
    expect(await rows()).toEqual(nothing)
  })

  it('is cancelled like any other', async () => {
    const job = await waiting()
    await database.sql`select millrace.cancel(array[${job.id}::text::bigint])`
    expect(await view(database, job.id)).toMatchObject({ state: 'cancelled', wait: null })
    expect(await rows()).toEqual(nothing)
    expect(await send(job.id)).toMatchObject({ answer: 'ended', state: 'cancelled' })
  })

  it('leaves its place in a limited queue to another one, and wakes who waits for it', async () => {
    await database.sql`insert into millrace.queue (name, max_running, limited_since) values ('narrow', 1, now())`
    const runtime = await database.engine.runtimeStart('sleeper')
    await database.engine.runtimeSleep(runtime, true)
    let woken = 0
    const { unlisten } = await database.sql.listen('millrace_wake', () => {
      woken += 1
    })
    const job = await running(database, { queue: 'narrow' })
    const [second] = await enqueue(database.sql, 2, { queue: 'narrow' })
    expect(await claimAll(database)).toEqual([])
    const before = woken
    await wait(job)
    await expect.poll(() => woken).toBeGreaterThan(before)
    expect((await claimAll(database)).map(({ id }) => id)).toEqual([second])
    // Resumed, it needs a place again.
    await send(job.id)
    expect(await claimAll(database)).toEqual([])
    await unlisten()
  })

  it('leaves its place, too, when the limit is set later', async () => {
    await waiting({}, { queue: 'narrow' })
    await database.sql`insert into millrace.queue (name, max_running, limited_since) values ('narrow', 1, now())`
    const [second] = await enqueue(database.sql, 1, { queue: 'narrow' })
    expect((await claimAll(database)).map(({ id }) => id)).toEqual([second])
  })

  it('is carried when its segment is emptied, and resumed from there', async () => {
    const job = await waiting({ progress: { metadata: { page: 4 } } })
    expect(await rotateAndPrune(database)).toMatchObject({ carried: 1 })
    expect(await view(database, job.id)).toMatchObject({ state: 'waiting_external', wait: { name: 'payment' } })
    expect(await wait(job)).toMatchObject({ answer: 'waiting' })
    expect(await send(job.id)).toMatchObject({ answer: 'applied' })
    expect(progressOf(only(await claimAll(database)))).toMatchObject({ metadata: { page: 4 }, events: { payment: {} } })
  })

  it('goes on waiting in the cluster into which its database is restored', async () => {
    const job = await waiting()
    await database.sql`update millrace.cluster set identifier = 1`
    await database.sql`select millrace.attach()`
    expect(await view(database, job.id)).toMatchObject({ state: 'waiting_external', wait: { name: 'payment' } })
    expect(await send(job.id)).toMatchObject({ answer: 'applied' })
    expect(only(await claimAll(database)).id).toBe(job.id)
  })

  it.each([
    { name: '' },
    { name: 'x'.repeat(201) },
    { timeoutSeconds: 0 },
    { timeoutSeconds: -1 },
    { timeoutSeconds: 1e9 },
    { timeoutSeconds: Number.NaN },
    { onTimeout: 'explode' as 'fail' },
  ])('is refused what makes no sense: %j', async more => {
    const job = await running(database)
    await expect(wait(job, more)).rejects.toMatchObject({ code: 'invalid_event' })
    expect(await rows()).toEqual(nothing)
  })
})

describe('a wait that times out', () => {
  it('fails the job, unless it says otherwise', async () => {
    const job = await waiting()
    await letTimePass()
    expect(await rescue()).toEqual({ ...nobody, parked: 1 })
    expect(await view(database, job.id)).toMatchObject({
      state: 'failed',
      errors: [{ code: 'wait_timeout', message: 'the event payment did not come in time' }],
      dead_letter: { reason: 'wait_timeout' },
    })
    expect(await rows()).toEqual(nothing)
    expect(await send(job.id)).toMatchObject({ answer: 'ended', state: 'failed' })
  })

  it('retries it, which costs an attempt', async () => {
    const job = await waiting({ onTimeout: 'retry' }, { max_attempts: 2 })
    await letTimePass()
    expect(await rescue()).toEqual({ ...nobody, parked: 1 })
    expect(await view(database, job.id)).toMatchObject({ state: 'retryable', attempt: 2, max_attempts: 2 })
    const again = only(await claimAgain(database))
    await wait(again, { onTimeout: 'retry' })
    await letTimePass()
    await rescue()
    expect(await view(database, job.id)).toMatchObject({ state: 'failed', dead_letter: { reason: 'wait_timeout' } })
  })

  it('resumes it, which is told so and costs none', async () => {
    const job = await waiting({ onTimeout: 'resume', progress: { metadata: { page: 4 } } }, { max_attempts: 1 })
    await letTimePass()
    expect(await rescue()).toEqual({ ...nobody, parked: 1 })
    const again = only(await claimAll(database))
    expect(again).toMatchObject({ id: job.id, attempt: 2, max_attempts: 2 })
    expect(progressOf(again)).toEqual({
      metadata: { page: 4 },
      events: { payment: { payload: null, at, timed_out: true } },
    })
    expect((await view(database, job.id)).errors).toEqual([])
  })

  it('does what each says, together with those that nobody will close', async () => {
    const [fails, retries, resumes] = [
      await waiting(),
      await waiting({ onTimeout: 'retry' }),
      await waiting({ onTimeout: 'resume' }),
    ]
    const silent = await running(database)
    await database.engine.park([silent], -60)
    await letTimePass()
    expect(await rescue()).toEqual({ ...nobody, parked: 4 })
    const states = await Promise.all([fails, retries, resumes, silent].map(job => view(database, job.id)))
    expect(states.map(({ state, errors }) => [state, errors[0]?.code])).toEqual([
      ['failed', 'wait_timeout'],
      ['retryable', 'wait_timeout'],
      ['available', undefined],
      ['retryable', 'callback_timeout'],
    ])
  })

  it('is over when the event was quicker', async () => {
    await waiting({ onTimeout: 'resume' })
    const job = await waiting({ onTimeout: 'resume' })
    await letTimePass()
    expect(await send(job.id, { payload: 7 })).toMatchObject({ answer: 'applied' })
    expect(await rescue()).toEqual({ ...nobody, parked: 1 })
    expect(await view(database, job.id)).toMatchObject({
      attempt: 2,
      progress: { events: { payment: { payload: 7 } } },
    })
  })

  it('was quicker than the event, which is kept for the next attempt', async () => {
    const job = await waiting({ onTimeout: 'resume' })
    await letTimePass()
    await rescue()
    expect(await send(job.id, { payload: 7 })).toMatchObject({ answer: 'kept' })
    expect(await wait(only(await claimAll(database)))).toMatchObject({ answer: 'applied' })
    expect((await view(database, job.id)).progress).toMatchObject({ events: { payment: { payload: 7, at } } })
  })
})

it('tells that a job waits, and for what; one that timed out was not rescued', async () => {
  const events = '{waiting,completed,retried,failed,rescued}'
  await database.sql`
    insert into millrace.follow_up (name, events, job, source) values ('note', ${events}, '{"kind": "note", "queue": "notes"}', 'test')`
  await database.sql`insert into millrace.queue (name, paused_at) values ('notes', now())`
  await waiting({ onTimeout: 'retry' })
  const resumed = await waiting({ onTimeout: 'resume' })
  await send(resumed.id)
  await letTimePass()
  await rescue()
  const notes = await database.sql`
    select payload ->> 'state' as state, payload -> 'wait' ->> 'name' as name from millrace.job_log where kind = 'note' order by id`
  expect(notes.map(({ state, name }) => [state, name])).toEqual([
    ['waiting_external', 'payment'],
    ['waiting_external', 'payment'],
    ['retryable', null],
  ])
})

describe('a wait that crossed the end of its attempt', () => {
  const left = async () => {
    const job = await running(database)
    const session = await database.connect()
    await session`begin`
    await new SqlEngine(toSql(session)).wait({
      ...{ ...ref(job), name: 'payment', timeoutSeconds: 3600, onTimeout: 'fail' },
      rules: { filter: 'true' },
    })
    expect(await close(database, job, failed('broken', 0))).toMatchObject({ fresh: true })
    await session`commit`
    expect(await rows()).toMatchObject({ waits: 1 })
    return job
  }

  it('takes no event, which is kept for the next attempt', async () => {
    const job = await left()
    expect(await view(database, job.id)).toMatchObject({ state: 'retryable', wait: null })
    expect(await send(job.id)).toMatchObject({ answer: 'kept' })
    expect(await rows()).toMatchObject({ waits: 0, kept: 1 })
    expect(await wait(only(await claimAgain(database)))).toMatchObject({ answer: 'applied' })
  })

  it('gives way to the wait of a later attempt', async () => {
    const job = await left()
    await wait(only(await claimAgain(database)))
    expect(await view(database, job.id)).toMatchObject({
      state: 'waiting_external',
      attempt: 2,
      wait: { name: 'payment' },
    })
    expect(await send(job.id, { action: 'complete' })).toMatchObject({ answer: 'applied', state: 'completed' })
  })

  it('is cleaned away once it is over', async () => {
    await left()
    await letTimePass()
    expect(await rescue()).toEqual(nobody)
    expect(await rows()).toEqual(nothing)
  })
})
