// Named events: what each does to the attempt that waits for it, and that none is lost or applied twice.

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
  putBack,
  running,
  useEngine,
  view,
} from '../support/engine-database.ts'
import { rotateAndPrune } from '../support/segments.ts'
import { progressOf, useWaits } from '../support/waits.ts'

const database = useEngine()
const { wait, send, waiting, rows } = useWaits(database)
const at = expect.stringMatching(/^\d{4}-/)
const RULES = { filter: 'payload.paid' }
const kept = async () => (await rows()).kept

/** What the next attempt is told of the event. */
const told = async () => progressOf(only(await claimAgain(database))).events.payment.payload

describe('an event', () => {
  it('cancels a job whose unique key a newer one has taken meanwhile, and says so', async () => {
    const keyed = { unique_key: 'k', on_conflict: 'replace' }
    const job = await waiting({}, keyed)
    await enqueue(database.sql, 1, keyed)
    expect(await send(job.id, { payload: 1 })).toMatchObject({ answer: 'applied', state: 'cancelled', attempt: 1 })
    expect(await view(database, job.id)).toMatchObject({ state: 'cancelled' })
    expect(await rows()).toEqual({ waits: 0, states: 0, kept: 0 })
  })

  it('resumes the job: with its payload and the checkpoint, at no cost', async () => {
    const job = await waiting({ progress: { percent: 40, metadata: { page: 4 } } }, { max_attempts: 1 })
    expect(await send(job.id, { payload: { euro: 7, note: null } })).toMatchObject({
      answer: 'applied',
      state: 'available',
      attempt: 1,
    })
    const next = only(await claimAll(database))
    expect(next).toMatchObject({ id: job.id, attempt: 2, max_attempts: 2 })
    expect(progressOf(next)).toEqual({
      percent: 40,
      metadata: { page: 4 },
      events: { payment: { payload: { euro: 7, note: null }, at } },
    })
    expect(await view(database, job.id)).toMatchObject({ errors: [], put_back: null, wait: null })
    expect(await rows()).toEqual({ waits: 0, states: 0, kept: 0 })
  })

  it('is handed on with those before it, and with what the job does later', async () => {
    const job = await waiting()
    await send(job.id, { payload: 1 })
    const second = only(await claimAll(database))
    await wait(second, { name: 'approval', progress: { metadata: { page: null } } })
    await send(job.id, { name: 'approval', payload: 'yes' })
    const third = only(await claimAll(database))
    await close(database, third, failed('broken', 0))
    expect(progressOf(only(await claimAgain(database)))).toEqual({
      metadata: { page: null },
      events: { payment: { payload: 1, at }, approval: { payload: 'yes', at } },
    })
  })

  it('completes the job with its payload as result', async () => {
    const job = await waiting()
    expect(await send(job.id, { action: 'complete', payload: { euro: 7 } })).toMatchObject({ state: 'completed' })
    expect(await view(database, job.id)).toMatchObject({ state: 'completed', result: { euro: 7 }, wait: null })
  })

  it.each([
    [{ error: 'card refused', code: 51 }, 'card refused'],
    ['card refused', 'card refused'],
    [{ code: 51 }, 'the event payment failed it'],
    [undefined, 'the event payment failed it'],
  ])('fails the job for good, and %j says why', async (payload, message) => {
    const job = await waiting()
    expect(await send(job.id, { action: 'fail', payload })).toMatchObject({ answer: 'applied', state: 'failed' })
    expect(await view(database, job.id)).toMatchObject({
      errors: [{ code: 'event', message }],
      dead_letter: { reason: 'terminal_error' },
    })
  })

  it('lets it run again from its checkpoint, without being told of, at no cost', async () => {
    const job = await waiting({ progress: { percent: 40 } }, { max_attempts: 1 })
    expect(await send(job.id, { action: 'retry', payload: 7 })).toMatchObject({ answer: 'applied', state: 'available' })
    const next = only(await claimAll(database))
    expect(next).toMatchObject({ attempt: 2, max_attempts: 2 })
    expect(progressOf(next)).toEqual({ percent: 40 })
  })

  it('wakes whom it is sent for only: not a job that waits for another one', async () => {
    const job = await waiting()
    expect(await send(job.id, { name: 'approval' })).toMatchObject({ answer: 'kept', state: 'waiting_external' })
    expect(await view(database, job.id)).toMatchObject({ state: 'waiting_external', wait: { name: 'payment' } })
  })

  it('ends the time for which the job was put back', async () => {
    const job = await running(database)
    await close(database, job, putBack())
    const again = only(await claimAgain(database))
    await wait(again)
    await send(job.id)
    expect((await view(database, job.id)).put_back).toBeNull()
  })

  it('resumes jobs at the pace of their key', async () => {
    await database.sql`insert into millrace.queue (name, key_rate) values ('paced', 0.001)`
    const [id] = await enqueue(database.sql, 1, { queue: 'paced', rate_key: 'shop' })
    await database.engine.promote(10)
    const job = only(await claimAll(database))
    await wait(job)
    expect(await send(id as string)).toMatchObject({ answer: 'applied', state: 'scheduled' })
    await database.engine.promote(10)
    expect(await claimAll(database)).toEqual([])
  })

  it('finds a job that has ended, or none', async () => {
    const job = await running(database)
    await close(database, job, completed)
    expect(await send(job.id)).toMatchObject({ answer: 'ended', state: 'completed' })
    expect(await send('987654321')).toMatchObject({ answer: 'unknown' })
    expect(await kept()).toBe(0)
  })

  it.each([{ name: '' }, { name: 'x'.repeat(201) }, { action: 'explode' as 'resume' }])(
    'is refused if it makes no sense: %j',
    async more => {
      const job = await waiting()
      await expect(send(job.id, more)).rejects.toMatchObject({ code: 'invalid_event' })
    },
  )

  it('has a payload of limited size', async () => {
    const job = await waiting()
    await expect(send(job.id, { payload: 'x'.repeat(2 ** 20) })).rejects.toMatchObject({ code: 'payload_too_large' })
    expect(await send(job.id, { payload: 'x'.repeat(2 ** 20 - 2) })).toMatchObject({ answer: 'applied' })
  })

  it('needs to see what others have done', async () => {
    const job = await waiting()
    const session = await database.connect()
    const engine = new SqlEngine(toSql(session))
    await session`begin isolation level repeatable read`
    await expect(engine.sendEvent({ job: job.id, name: 'payment', action: 'event' })).rejects.toThrow('read committed')
    await session`rollback`
  })
})

describe('an event that is early', () => {
  it.each([
    ['available', async () => only(await enqueue(database.sql))],
    ['scheduled', async () => only(await enqueue(database.sql, 1, { delay_seconds: 60 }))],
    ['running', async () => (await running(database)).id],
  ] as const)('is kept for a job that is %s, and taken by its wait', async (state, make) => {
    const id = await make()
    expect(await send(id, { payload: 7 })).toMatchObject({ answer: 'kept', state })
    const job = state === 'running' ? { segment: '0', id, attempt: 1 } : only(await claimAgain(database))
    expect(await wait(job, { progress: { percent: 40 } })).toMatchObject({ answer: 'applied', state: 'available' })
    const next = progressOf(only(await claimAll(database)))
    expect(next).toEqual({ percent: 40, events: { payment: { payload: 7, at } } })
    expect(await rows()).toEqual({ waits: 0, states: 0, kept: 0 })
  })

  it.each([
    ['complete', 'completed'],
    ['fail', 'failed'],
    ['retry', 'available'],
    ['resume', 'available'],
  ] as const)('does what it says: %s', async (action, state) => {
    const job = await running(database)
    await send(job.id, { action, payload: 7 })
    expect(await wait(job, { rules: RULES })).toMatchObject({ answer: 'applied', state })
    expect(await view(database, job.id)).toMatchObject({ state, result: action === 'complete' ? 7 : null })
  })

  it('is taken before those that came later', async () => {
    const job = await running(database)
    for (const payload of [1, 2, 3]) await send(job.id, { payload })
    await wait(job)
    expect(await told()).toBe(1)
    for (const expected of [2, 3]) {
      await wait({ ...job, attempt: expected })
      expect(await told()).toBe(expected)
    }
    expect(await wait({ ...job, attempt: 4 })).toMatchObject({ answer: 'waiting' })
  })

  it('outlives the attempt during which it came', async () => {
    const job = await running(database)
    await send(job.id, { payload: 7 })
    await close(database, job, failed('broken', 0))
    expect(await wait(only(await claimAgain(database)))).toMatchObject({ answer: 'applied' })
    expect(await told()).toBe(7)
  })

  it('is one of so many that are kept', async () => {
    await database.sql`update millrace.setting set value = 2 where name = 'kept_events_limit'`
    const job = await running(database)
    for (const name of ['payment', 'approval']) expect(await send(job.id, { name })).toMatchObject({ answer: 'kept' })
    expect(await send(job.id)).toMatchObject({ answer: 'full' })
    await wait(job)
    expect(await send(job.id)).toMatchObject({ answer: 'kept' })
    await database.sql`update millrace.setting set value = 100 where name = 'kept_events_limit'`
  })
})

describe('the events of a job together', () => {
  it('are limited: those it has, and those that are kept', async () => {
    const payload = 'x'.repeat(900_000)
    const job = await waiting()
    expect(await send(job.id, { payload })).toMatchObject({ answer: 'applied' })
    expect(await send(job.id, { name: 'approval', payload })).toMatchObject({ answer: 'kept' })
    await expect(send(job.id, { name: 'delivery', payload })).rejects.toMatchObject({ code: 'payload_too_large' })
    expect(await kept()).toBe(1)
    expect(await send(job.id, { name: 'delivery', payload: 'small' })).toMatchObject({ answer: 'kept' })
  })
})

describe('an event that is sent twice', () => {
  it('is applied once, and kept for a wait to come', async () => {
    const job = await waiting()
    expect(await send(job.id, { payload: 1 })).toMatchObject({ answer: 'applied' })
    expect(await send(job.id, { payload: 1 })).toMatchObject({ answer: 'kept' })
    expect((await claimAll(database)).map(({ attempt }) => attempt)).toEqual([2])
  })

  it('at the same time is, too', async () => {
    const jobs = await Promise.all(Array.from({ length: 8 }, () => enqueue(database.sql)))
    const claimed = await claimAll(database)
    expect(claimed).toHaveLength(jobs.length)
    await Promise.all(claimed.map(job => wait(job)))
    const answers = await Promise.all(
      claimed.map(({ id }) => Promise.all([send(id), send(id), send(id)].map(async sent => (await sent).answer))),
    )
    expect(answers.map(three => three.sort())).toEqual(jobs.map(() => ['applied', 'kept', 'kept']))
    expect(await claimAll(database)).toHaveLength(jobs.length)
  })

  it('while its wait comes is taken by it, once', async () => {
    const job = await running(database)
    const session = await database.connect()
    await session`begin`
    await new SqlEngine(toSql(session)).sendEvent({ job: job.id, name: 'payment', action: 'event', payload: 7 })
    const waits = wait(job) // for that transaction, too
    await session`commit`
    expect(await waits).toMatchObject({ answer: 'applied' })
    expect(await told()).toBe(7)
    expect(await kept()).toBe(0)
  })

  it('by a transaction that is rolled back was not sent', async () => {
    const job = await waiting()
    const session = await database.connect()
    await session`begin`
    const engine = new SqlEngine(toSql(session))
    expect(await engine.sendEvent({ job: job.id, name: 'payment', action: 'event' })).toMatchObject({
      answer: 'applied',
    })
    await session`rollback`
    expect(await send(job.id, { payload: 8 })).toMatchObject({ answer: 'applied' })
    expect(await told()).toBe(8)
  })
})

describe('an attempt that an event has ended', () => {
  it('is closed to its function', async () => {
    const job = await waiting()
    await send(job.id)
    expect(await close(database, job, completed)).toMatchObject({ state: 'available', fresh: false })
    expect(await close(database, job, fatal)).toMatchObject({ state: 'available', fresh: false })
    expect(await wait(job)).toMatchObject({ answer: 'closed', state: 'available' })
    expect((await view(database, job.id)).state).toBe('available')
  })
})

describe('a wait with rules', () => {
  it('has its caller evaluate the event, which goes on with what they say', async () => {
    const job = await waiting({ rules: RULES })
    expect(await send(job.id, { payload: { paid: true } })).toMatchObject({
      answer: 'evaluate',
      attempt: 1,
      rules: RULES,
    })
    expect((await view(database, job.id)).state).toBe('waiting_external')
    expect(await kept()).toBe(0)
    expect(await send(job.id, { action: 'complete', payload: 7, forAttempt: 1 })).toMatchObject({ answer: 'applied' })
    expect(await view(database, job.id)).toMatchObject({ state: 'completed', result: 7 })
  })

  it('does not mind them when the event says itself what it does', async () => {
    const job = await waiting({ rules: RULES })
    expect(await send(job.id, { action: 'resume' })).toMatchObject({ answer: 'applied', state: 'available' })
  })

  it('that is over has the event sent anew', async () => {
    const job = await waiting({ rules: RULES })
    await send(job.id)
    await send(job.id, { action: 'retry' })
    const gone = { answer: 'gone' }
    expect(await send(job.id, { action: 'complete', forAttempt: 1 })).toMatchObject(gone)
    await wait(only(await claimAll(database)), { rules: RULES })
    expect(await send(job.id, { action: 'complete', forAttempt: 1 })).toMatchObject(gone)
    expect(await send(job.id)).toMatchObject({ answer: 'evaluate', attempt: 2 })
  })

  /** Kept events with these actions; their payloads count from 0. */
  const early = async (...actions: ('event' | 'resume' | 'fail')[]) => {
    const job = await running(database)
    for (const [payload, action] of actions.entries()) await send(job.id, { action, payload })
    const answer = await wait(job, { rules: RULES })
    const events = answer.answer === 'events' ? answer.events : []
    return { job, answer, events, ids: events.map(({ id }) => id) }
  }

  it('has its caller evaluate those that were early, and takes the first that is not ignored', async () => {
    const { job, events, ids } = await early('event', 'event', 'event')
    expect(events.map(({ payload }) => payload)).toEqual([0, 1, 2])
    expect(await kept()).toBe(3)
    const verdict = { id: ids[1] as number, action: 'resume', payload: { nice: true } } as const
    expect(await wait(job, { rules: RULES }, { seen: ids[1] as number, verdict })).toMatchObject({ answer: 'applied' })
    expect(await told()).toEqual({ nice: true })
    expect(await database.sql`select id::int from millrace.kept_event`).toEqual([{ id: ids[2] }])
  })

  it('waits when all are ignored, and forgets them', async () => {
    const { job, ids } = await early('event', 'event')
    const tried = { seen: ids[1] as number, verdict: undefined }
    expect(await wait(job, { rules: RULES }, tried)).toMatchObject({ answer: 'waiting' })
    expect(await rows()).toMatchObject({ waits: 1, kept: 0 })
  })

  it('has those evaluated that came meanwhile', async () => {
    const { job, ids } = await early('event')
    await send(job.id, { payload: 'late' })
    const tried = { seen: ids[0] as number, verdict: undefined }
    expect(await wait(job, { rules: RULES }, tried)).toMatchObject({ answer: 'events', events: [{ payload: 'late' }] })
  })

  it('is not asked beyond an event that says itself what it does', async () => {
    const { job, events, ids } = await early('event', 'fail', 'event')
    expect(events.map(({ payload }) => payload)).toEqual([0])
    const tried = { seen: ids[0] as number, verdict: undefined }
    expect(await wait(job, { rules: RULES }, tried)).toMatchObject({ answer: 'applied', state: 'failed' })
    expect(await kept()).toBe(1)
  })

  it('is asked of twenty at a time', async () => {
    const { events } = await early(...Array.from({ length: 25 }, () => 'event' as const))
    expect(events).toHaveLength(20)
  })

  it('loses no early event when its attempt ends before it has said what it makes of it', async () => {
    const { job, ids } = await early('event')
    await close(database, job, failed('broken', 0))
    const verdict = { id: ids[0] as number, action: 'resume' } as const
    expect(await wait(job, { rules: RULES }, { seen: ids[0] as number, verdict })).toMatchObject({ answer: 'closed' })
    expect(await kept()).toBe(1)
  })
})

describe('kept events', () => {
  it('go with the log of a job that has ended', async () => {
    const job = await running(database)
    await send(job.id)
    await close(database, job, completed)
    expect(await kept()).toBe(1)
    await rotateAndPrune(database)
    expect(await kept()).toBe(0)
  })

  it('stay with a job that is open', async () => {
    const [open, waits] = [await running(database), await enqueue(database.sql, 1, { delay_seconds: 60 })]
    for (const id of [open.id, only(waits)]) await send(id)
    await rotateAndPrune(database)
    expect(await kept()).toBe(2)
  })

  it.each([
    [
      'expires',
      async () => {
        await database.sql`select millrace.lead('maintenance', 'test', 60)`
        await database.sql`update millrace.dead_letter set expires_at = now()`
        await database.sql`select millrace.expire((select epoch from millrace.leader), 10)`
      },
    ],
    ['is purged', () => database.sql`select millrace.purge_dead_letters('{"all": true}', null, 10)`],
  ] as const)('stay with a dead letter, which may be retried, until it %s', async (_, end) => {
    const job = await running(database)
    await send(job.id)
    await close(database, job, fatal)
    await rotateAndPrune(database)
    expect(await kept()).toBe(1)
    await end()
    expect(await kept()).toBe(0)
  })

  it('are taken by the wait of a dead letter that is retried', async () => {
    const job = await running(database)
    await send(job.id, { payload: 7 })
    await close(database, job, fatal)
    await database.sql`select millrace.retry(array[${job.id}::text::bigint])`
    expect(await wait(only(await claimAll(database)))).toMatchObject({ answer: 'applied' })
    expect(await told()).toBe(7)
  })
})
