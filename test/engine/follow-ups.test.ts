// Jobs that follow others: whoever moves a job on enqueues what is declared to follow, in the same transaction, or says why not.

import { defineManifest, from, syncManifest, toSql } from 'millrace'
import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import { MaintenanceEngine } from '../../core/maintenance-engine.ts'
import { SqlEngine } from '../../core/sql-engine.ts'
import { batchTools, useAdmin } from '../support/admin.ts'
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
  ref,
  released,
  running,
  view,
} from '../support/engine-database.ts'
import { events, follow, followed, jobsThatFollow, tell } from '../support/follow-ups.ts'

const database = useAdmin()
const declare = (...given: Parameters<typeof follow> extends [unknown, ...infer Rest] ? Rest : never) =>
  follow(database.sql, ...given)
const cancel = (ids: readonly string[]) => database.admin.jobs.cancel(ids, 'unwanted')
const problems = async () => (await database.admin.followUps.problems()).items

describe('what is told of', () => {
  it('a completed job: its arguments and its result', async () => {
    await declare(tell({ file: from('result.file'), n: from('args.n'), state: from('state') }))
    const job = await running(database)
    await close(database, job, { kind: 'completed', result: { file: 'a.pdf' } })
    expect(await followed(database.sql)).toEqual([
      { event: 'completed', job: Number(job.id), file: 'a.pdf', n: 0, state: 'completed' },
    ])
  })

  it('an attempt that failed and is retried, with when; then the one that is the last', async () => {
    await declare(
      tell({
        state: from('state'),
        code: from('error.code', { default: null }),
        at: from('run_at', { default: null }),
      }),
    )
    const job = await running(database, { max_attempts: 2 })
    await close(database, job, failed('one', 60_000))
    const { run_at } = await view(database, job.id)
    await close(database, only((await claimAgain(database)).filter(({ id }) => id === job.id)), failed('two'))
    const told = { job: Number(job.id), code: 'reported' }
    expect(await followed(database.sql)).toEqual([
      { ...told, event: 'retried', state: 'retryable', at: run_at },
      { ...told, event: 'failed', state: 'failed', at: null },
    ])
  })

  it('nothing of attempts after which the job goes on as before: put back, released, snoozed', async () => {
    await declare(tell())
    await close(database, await running(database), putBack(60_000))
    await close(database, await running(database), released)
    await close(database, only(await claimAll(database)), { kind: 'snoozed', delayMs: 1_000 } as never)
    expect(await events(database.sql)).toEqual([])
  })

  it('everything there is, for those that ask for nothing in particular', async () => {
    await declare([{ on: ['completed'], enqueue: 'after' }])
    const job = await running(database, { metadata: { team: 'x' } })
    await close(database, job, { kind: 'completed', result: 7 })
    const { enqueued_at, finished_at } = await view(database, job.id)
    expect(await followed(database.sql)).toEqual([
      {
        ...{ job_id: Number(job.id), kind: 'resize', queue: 'default', attempt: 1, state: 'completed' },
        ...{ enqueued_at, finished_at, args: { n: 0 }, metadata: { team: 'x' }, result: 7 },
      },
    ])
  })

  it('a function that has accepted an attempt, once, and not when it has ended already', async () => {
    await declare(tell({ state: from('state') }))
    const jobs = [await running(database), await running(database)]
    await close(database, jobs[1] as never, completed)
    await database.engine.park(jobs, 60)
    await database.engine.park(jobs, 60)
    expect(await followed(database.sql)).toEqual([
      { event: 'completed', job: Number(jobs[1]?.id), state: 'completed' },
      { event: 'waiting', job: Number(jobs[0]?.id), state: 'waiting_external' },
    ])
  })

  it('an attempt that waits for a named event: which, and until when; its time-out is no rescue', async () => {
    await declare(tell({ wait: from('wait', { default: null }) }))
    const { segment, id, attempt } = await running(database)
    const wait = () => database.sql`select millrace.wait(${segment}, ${id}, ${attempt}, 'payment', 3600, 'retry')`
    await wait()
    await wait()
    const { deadline } = only(await database.sql`select to_jsonb(deadline) as deadline from millrace.wait`)
    await database.sql`update millrace.wait set deadline = now() - interval '1 second'`
    await database.sql`update millrace.attempt_state set deadline = now() - interval '1 second'`
    await database.engine.rescue(10)
    expect(await followed(database.sql)).toEqual([
      { event: 'waiting', job: Number(id), wait: { name: 'payment', deadline } },
      { event: 'retried', job: Number(id), wait: null },
    ])
  })
})

describe('whoever ends it', () => {
  it('rescue, of a callback that never came: retried, and rescued', async () => {
    await declare(tell({ reason: from('reason', { default: null }) }))
    const job = await running(database, { max_attempts: 2 })
    await database.engine.park([job], -60)
    await database.engine.rescue(10)
    const again = only((await claimAgain(database)).filter(({ id }) => id === job.id))
    await database.engine.park([again], -60)
    await database.engine.rescue(10)
    const told = (await followed(database.sql)).filter(({ event }) => event !== 'waiting')
    expect(told).toEqual([
      { event: 'rescued', job: Number(job.id), reason: 'callback_timeout' },
      { event: 'retried', job: Number(job.id), reason: null },
      { event: 'failed', job: Number(job.id), reason: null },
      { event: 'rescued', job: Number(job.id), reason: 'callback_timeout' },
    ])
  })

  it('rescue, of a dispatcher that died', async () => {
    await declare(tell({ reason: from('reason', { default: null }) }))
    const job = await running(database)
    await database.sql`update millrace.runtime set lost_at = now() - interval '1 minute'`
    await database.engine.rescue(10)
    expect(await followed(database.sql)).toEqual([
      { event: 'rescued', job: Number(job.id), reason: 'dispatcher_lost' },
      { event: 'retried', job: Number(job.id), reason: null },
    ])
  })

  it('cancel: of what is available, deferred and running', async () => {
    await declare(tell({ message: from('error.message') }))
    const at_work = await running(database)
    const [available] = await enqueue(database.sql)
    const [deferred] = await enqueue(database.sql, 1, { delay_seconds: 60 })
    const ids = [at_work.id, available, deferred] as string[]
    await cancel(ids)
    await cancel(ids)
    const told = await followed(database.sql)
    expect(told.toSorted((a, b) => a.job - b.job)).toEqual(
      ids.map(id => ({ event: 'cancelled', job: Number(id), message: 'unwanted' })),
    )
  })

  it('cancel: of what was written late into an emptied slot', async () => {
    await declare(tell())
    const old = await database.connect()
    await old`begin isolation level repeatable read`
    await old`select number from millrace.segment`
    await close(database, await running(database, {}, 'other'), completed)
    await database.prune()
    const [late] = (await enqueue(old)) as [string]
    await old`commit`
    await cancel([late])
    expect(await followed(database.sql)).toEqual([{ event: 'cancelled', job: Number(late) }])
  })

  it('a batch of an operator', async () => {
    await declare(tell())
    await enqueue(database.sql, 150)
    const { submit, finish } = batchTools(database)
    expect(await finish(await submit('cancel', { kind: 'resize' }))).toMatchObject({ changed: 150 })
    expect(await events(database.sql)).toEqual(Array.from({ length: 150 }, () => 'cancelled'))
  })

  it('a newer job that took its unique key', async () => {
    await declare(tell())
    const options = { unique_key: 'k', unique_states: ['scheduled', 'available', 'retryable'] }
    const older = await running(database, options)
    await enqueue(database.sql, 1, { unique_key: 'k' })
    await close(database, older, failed())
    expect(await followed(database.sql)).toEqual([{ event: 'cancelled', job: Number(older.id) }])
  })

  it('and nobody, twice: a close that comes second enqueues nothing', async () => {
    await declare(tell())
    const job = await running(database)
    for (const outcome of [completed, failed(), completed]) await close(database, job, outcome)
    expect(await events(database.sql)).toEqual(['completed'])
  })

  it('in a batch: each event once, in order', async () => {
    await declare(tell())
    await enqueue(database.sql, 120)
    const jobs = await claimAll(database)
    await database.engine.close(jobs.map((job, n) => ({ ...ref(job), outcome: n % 2 ? fatal : completed })))
    expect(await followed(database.sql)).toEqual(
      jobs.map(({ id }, n) => ({ event: n % 2 ? 'failed' : 'completed', job: Number(id) })),
    )
  })
})

describe('the job that follows', () => {
  it('has what is declared: lane, attempts, delay, and tags and metadata from the event', async () => {
    await declare([
      {
        ...{
          on: ['completed'],
          enqueue: { name: 'after' },
          queue: 'slow',
          priority: 3,
          maxAttempts: 2,
          delaySeconds: 60,
        },
        args: [from('result'), { list: [from('args.n'), 'as it is', null] }],
        tags: ['follow', from('args.n', { default: 'none' })],
        metadata: { from: from('kind'), nothing: from('args.none', { default: null }) },
      },
    ])
    const job = await running(database, { metadata: { tenant: 'acme', team: 'x' } })
    await close(database, job, { kind: 'completed', result: { a: [1.1, 'é'] } })
    const found = only(await jobsThatFollow(database.sql))
    expect(found).toMatchObject({
      ...{ queue: 'slow', priority: 3, max_attempts: 2, tags: ['follow', '0'] },
      payload: [{ a: [1.1, 'é'] }, { list: [0, 'as it is', null] }],
    })
    expect(found.metadata).toEqual({
      ...{ from: 'resize', nothing: null, tenant: 'acme' },
      follows: { job_id: Number(job.id), attempt: 1, event: 'completed', follow_up: 'resize#1' },
    })
    expect(Number(found.due)).toBeGreaterThan(Date.now() + 30_000)
  })

  it('has its own kind to say what is not declared, and may be followed itself', async () => {
    const after = { name: 'after', args: v.any(), queue: 'afterwards', maxAttempts: 7 }
    const chain = {
      ...after,
      followUps: [{ on: ['completed'], enqueue: 'last', args: { first: from('args.first') } }] as const,
    }
    await declare([{ on: ['completed'], enqueue: chain, args: { first: from('job_id') } }], [chain])
    const job = await running(database)
    await close(database, job, completed)
    const next = only(await claimAll(database))
    expect(next).toMatchObject({ kind: 'after', queue: 'afterwards' })
    await close(database, next, completed)
    expect(await followed(database.sql, 'last')).toEqual([{ first: Number(job.id) }])
  })

  it('is asked for by a subscription too: of some kinds, or of all but the built-in ones', async () => {
    const subscription = { name: 'log', events: ['completed'], enqueue: 'after', args: from('kind') } as const
    await syncManifest(
      database.sql,
      defineManifest({
        subscriptions: [
          { ...subscription, kinds: ['a'] },
          { ...subscription, name: 'all', enqueue: 'last' },
        ],
      }),
    )
    for (const kind of ['a', 'b']) await enqueue(database.sql, 1, {}, kind)
    for (const job of await claimAll(database)) await close(database, job, completed)
    expect(await followed(database.sql)).toEqual(['a'])
    expect(await followed(database.sql, 'last')).toEqual(['a', 'b'])
    for (const job of await claimAll(database)) await close(database, job, completed)
    expect(await claimAll(database)).toEqual([]) // or the one for all kinds would follow its own jobs for ever
  })

  it('is not there any more once it is no longer declared', async () => {
    expect(await declare(tell())).toMatchObject({ removed: [] })
    expect(await declare(tell().slice(0, 1))).toMatchObject({
      removed: ['resize#2', 'resize#3', 'resize#4', 'resize#5', 'resize#6'],
    })
    await close(database, await running(database), fatal)
    expect(await events(database.sql)).toEqual([])
  })

  it('goes when the transaction of the event does', async () => {
    await declare(tell())
    const job = await running(database)
    const undone = new Error('changed our mind')
    const closing = database.sql.begin(async tx => {
      await new SqlEngine(toSql(tx)).close([{ ...ref(job), outcome: completed }])
      expect(await events(tx as never)).toEqual(['completed'])
      throw undone
    })
    await expect(closing).rejects.toBe(undone)
    expect(await events(database.sql)).toEqual([])
  })
})

describe('what cannot be built is put on record and stands in nobody’s way', () => {
  const good = { on: ['completed'], enqueue: 'after', args: { event: 'completed' } } as const

  it.each([
    ['a path that finds nothing', { args: from('result.file') }, 'missing_path', 'nothing at $.result.file'],
    ['arguments that are too large', { args: [from('args.text'), from('args.text')] }, 'payload_too_large', 'bytes'],
    ['tags that are none', { tags: from('args') }, '22P02', 'array'],
    ['metadata that is none', { metadata: from('args.text') as never }, 'invalid_metadata', 'metadata'],
    ['a path that meets what it cannot work with', { args: from('strict $.args.text.x') }, '2203A', 'jsonpath'],
  ])('%s', async (_, part, code, message) => {
    await declare([{ ...good, ...part }, good])
    const text = 'x'.repeat(600_000)
    const rows = await database.sql`select millrace.enqueue('resize', jsonb_build_object('text', ${text}::text)) as id`
    const id = String(only(rows).id)
    const job = only(await claimAll(database))
    expect(await close(database, job, completed)).toEqual({ state: 'completed', fresh: true })
    expect(await followed(database.sql)).toEqual([{ event: 'completed' }])
    const problem = {
      ...{ follow_up: 'resize#1', event: 'completed', attempt: 1, code },
      ...{ at: expect.any(String), message: expect.stringContaining(message) },
    }
    expect((await database.admin.jobs.get(id))?.follow_up_problems).toEqual([problem])
    expect(await problems()).toEqual([{ ...problem, id: expect.any(Number), job: Number(id) }])
  })

  it('whatever the reason: a kind that nobody may enqueue, a trigger of the user’s', async () => {
    await declare([good, good])
    await database.sql`update millrace.follow_up set job = job || '{"kind": "millrace.webhook"}' where name = 'resize#1'`
    await database.sql`create function public.refuse_after() returns trigger language plpgsql as $$
      begin raise exception 'no such table' using errcode = '42P01'; end $$`
    await database.sql`create trigger refuse before insert on millrace.job_log_0 for each row
      when (new.kind = 'after') execute function public.refuse_after()`
    try {
      const job = await running(database)
      expect(await close(database, job, completed)).toMatchObject({ fresh: true })
    } finally {
      await database.sql`drop function public.refuse_after() cascade`
    }
    expect(await problems()).toMatchObject([
      { follow_up: 'resize#2', code: '42P01' },
      {
        follow_up: 'resize#1',
        code: 'invalid_kind',
        message: expect.stringMatching(/^millrace: kind 'millrace.webhook': /),
      },
    ])
  })

  it('but not errors that would pass: those are the close’s own, which is tried again', async () => {
    await declare([good])
    await database.sql`create function public.busy() returns trigger language plpgsql as $$
      begin raise exception 'busy' using errcode = '40001'; end $$`
    await database.sql`create trigger busy before insert on millrace.job_log_0 for each row
      when (new.kind = 'after') execute function public.busy()`
    const job = await running(database)
    try {
      await expect(close(database, job, completed)).rejects.toMatchObject({ code: '40001' })
    } finally {
      await database.sql`drop function public.busy() cascade`
    }
    expect(await view(database, job.id)).toMatchObject({ state: 'running' })
    expect(await close(database, job, completed)).toMatchObject({ fresh: true })
    expect(await events(database.sql)).toEqual(['completed'])
    expect(await problems()).toEqual([])
  })

  it('in a batch only those are left out that cannot be', async () => {
    await declare([{ ...good, args: { even: from('result.even') } }])
    await enqueue(database.sql, 60)
    const jobs = await claimAll(database)
    await database.engine.close(
      jobs.map((job, n) => ({ ...ref(job), outcome: { kind: 'completed', result: n % 2 ? {} : { even: n } } })),
    )
    expect(await followed(database.sql)).toEqual(jobs.filter((_, n) => n % 2 === 0).map((_, n) => ({ even: 2 * n })))
    expect(await problems()).toHaveLength(30)
  })

  it('for as long as deliveries stay on record; pages of them go back in time', async () => {
    await declare([{ ...good, args: from('result.none') }])
    await enqueue(database.sql, 3)
    const jobs = await claimAll(database)
    for (const job of jobs) await close(database, job, completed)
    const page = await database.admin.followUps.problems({}, { limit: 2 })
    const rest = await database.admin.followUps.problems({}, { cursor: page.cursor })
    expect([...page.items, ...rest.items].map(({ job }) => job)).toEqual(jobs.map(({ id }) => Number(id)).reverse())
    expect((await database.admin.followUps.problems({ job: jobs[0]?.id, followUp: 'resize#1' })).items).toHaveLength(1)
    await expect(database.admin.followUps.problems({}, { cursor: 'x' })).rejects.toMatchObject({
      code: 'invalid_request',
    })
    await database.sql`update millrace.follow_up_problem set at = now() - interval '31 days' where job <> ${jobs[0]?.id as string}`
    const engine = new MaintenanceEngine(toSql(database.sql))
    const epoch = (await engine.lead('a', 60)) as string
    expect((await database.sql`select millrace.chores(true) as due`)[0]?.due).toContain('expire')
    await engine.expire(epoch, 100)
    expect((await database.sql`select millrace.chores(true) as due`)[0]?.due).not.toContain('expire')
    expect(await problems()).toHaveLength(1)
  })
})
