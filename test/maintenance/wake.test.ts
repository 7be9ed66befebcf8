// How maintenance learns of work: it polls while there is some, sleeps when there is none, and misses nothing in between.

import type { Sql } from 'millrace'
import { expect, test } from 'vitest'
import type { PostgresSql } from '../../functions/node/postgres-sql.ts'
import { startFunctionServer } from '../support/function-server.ts'
import { freshDatabase } from '../support/maintenance.ts'
import { Recorder } from '../support/maintenance-recorder.ts'

interface Statement {
  readonly text: string
}

/** Notes every statement on its way to the database. */
function noting() {
  const statements = new Recorder<Statement>()
  const wrap = (sql: PostgresSql): Sql => ({
    query: (text, params) => {
      statements.push({ text })
      return sql.query(text, params)
    },
  })
  return { statements, wrap }
}

async function withFunction() {
  const database = await freshDatabase()
  const fn = await startFunctionServer()
  await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync' } }])
  return { database, fn }
}

test('with nothing to do it falls asleep and asks nothing more, until a job is due', async () => {
  const { database } = await withFunction()
  const { statements, wrap } = noting()
  const work = await database.maintain({ listen: true, wrap, asleepPulseMs: 60_000 })
  await work.events.until({ type: 'asleep' })
  const before = statements.all.length
  const id = await database.enqueue('work', {}, { delay_seconds: 1.2 })
  await work.events.until({ type: 'promoted' })
  // A last look, some when the enqueue was heard and when it was due; awake it would have looked ten times and more.
  const asked = (verb: string) => statements.all.slice(before).filter(({ text }) => text.includes(verb)).length
  expect(asked('.claim(')).toBeLessThanOrEqual(5)
  expect(asked('.promote(')).toBeLessThanOrEqual(5)
  await work.closed(id, 'completed')
  expect(work.events.of({ type: 'asleep' })).toHaveLength(1)
})

test.each(['read committed', 'repeatable read'])(
  'a transaction (%s) that began before it fell asleep and enqueues and commits afterwards is not missed',
  async isolation => {
    const { database } = await withFunction()
    const began = Promise.withResolvers<void>()
    const enqueue = Promise.withResolvers<void>()
    const transaction = database.sql.begin(`isolation level ${isolation}`, async tx => {
      await tx`select count(*) from millrace.runtime`
      began.resolve()
      await enqueue.promise
      const [row] = await tx`select millrace.enqueue('work') as id`
      return String(row?.id)
    })
    await began.promise
    const work = await database.maintain({ listen: true })
    await work.events.until({ type: 'asleep' })
    enqueue.resolve()
    await work.closed(await transaction, 'completed')
  },
)

test('it does not fall asleep before a transaction has ended that cannot have seen its wish to be woken', async () => {
  const { database } = await withFunction()
  const began = Promise.withResolvers<string>()
  const commit = Promise.withResolvers<void>()
  const transaction = database.sql.begin(async tx => {
    const [row] = await tx`select millrace.enqueue('work') as id`
    began.resolve(String(row?.id))
    await commit.promise
  })
  const job = await began.promise
  const { statements, wrap } = noting()
  const work = await database.maintain({ listen: true, wrap })
  // It has raised its flag and asked more than once whether all is quiet.
  await statements.until(({ text }) => text.includes('.quiet('), 2)
  expect(work.events.of({ type: 'asleep' })).toEqual([])
  commit.resolve()
  await transaction
  await work.closed(job, 'completed')
  await work.events.until({ type: 'asleep' })
})

test('without a listener polling finds the work', async () => {
  const { database } = await withFunction()
  const work = await database.maintain({ listen: false })
  await work.closed(await database.enqueue('work'), 'completed')
  expect(work.events.of({ type: 'asleep' })).toEqual([])
})

test.each([true, false])('a delayed job starts when its time has come (listening: %s)', async listen => {
  const { database, fn } = await withFunction()
  const work = await database.maintain({ listen })
  if (listen) await work.events.until({ type: 'asleep' })
  const before = Date.now()
  const id = await database.enqueue('work', {}, { delay_seconds: 1 })
  await work.closed(id, 'completed')
  expect(Date.now() - before).toBeGreaterThanOrEqual(950)
  expect(fn.received.all).toHaveLength(1)
})

test('a retry that is put down by somebody else is promoted while it sleeps', async () => {
  const { database } = await withFunction()
  const work = await database.maintain({ listen: true })
  await work.events.until({ type: 'asleep' })
  // Another dispatcher takes the job and reports a failure.
  const runtime = await database.engine.runtimeStart('another')
  const id = await database.sql.begin(async tx => {
    const [row] = await tx`select millrace.enqueue('work', queue => 'elsewhere') as id`
    return String(row?.id)
  })
  const claimed = await database.engine.claim(runtime, 1)
  const [job] = claimed
  if (job?.id === id) {
    const error = { code: 'test', message: 'once more' }
    await database.engine.close([{ ...job, outcome: { kind: 'failed', retryable: true, error, delayMs: 50 } }])
  }
  await work.closed(id, 'completed')
})

test('notifications that come in a storm end: it stays awake for a while and is not told', async () => {
  const { database } = await withFunction()
  const work = await database.maintain({ listen: true })
  await work.events.until({ type: 'asleep' })
  const jobs: string[] = []
  while (work.events.of({ type: 'awake' }).length === 0 && jobs.length < 2_000)
    jobs.push(await database.enqueue('work'))
  await work.events.until({ type: 'awake' })
  await expect
    .poll(async () => (await database.sql`select sleeping from millrace.runtime`)[0], { interval: 10 })
    .toEqual({ sleeping: false })
  await work.events.until({ type: 'closed', state: 'completed' }, jobs.length)
})

test('several processes share the work; no attempt is sent twice', async () => {
  const { database, fn } = await withFunction()
  const processes = [await database.maintain({ listen: true }), await database.maintain(), await database.maintain()]
  const jobs = (await Promise.all(Array.from({ length: 10 }, () => database.enqueueMany('work', 60)))).flat()
  await fn.received.until({}, jobs.length)
  await Promise.all(processes.map(({ stop }) => stop()))
  const sent = fn.received.all.map(({ body }) => `${body.job_id} ${body.attempt}`)
  expect(new Set(sent).size).toBe(sent.length)
  expect(await database.outcomes()).toEqual({ c: 600 })
  // On the way out each has signed off.
  expect(await database.sql`select id from millrace.runtime`).toHaveLength(0)
})

test('a claim that takes all it can tells those who sleep that there may be more', async () => {
  const { database } = await withFunction()
  const [busy, sleeper] = [await database.engine.runtimeStart('busy'), await database.engine.runtimeStart('sleeper')]
  await database.enqueueMany('work', 5)
  await database.engine.runtimeSleep(sleeper, true)
  const heard = new Recorder<{ payload: string }>()
  await database.sql.listen('millrace_wake', payload => heard.push({ payload }))
  await database.engine.claim(busy, 3)
  await heard.until({ payload: '' })
  await database.engine.claim(busy, 3)
  await database.sql.notify('millrace_wake', 'the end')
  await heard.until({ payload: 'the end' })
  expect(heard.all).toEqual([{ payload: '' }, { payload: 'the end' }])
})

test('one with full hands leaves the rest to one that slept', async () => {
  const { database, fn } = await withFunction()
  const answer = Promise.withResolvers<void>()
  const slow = await startFunctionServer(async () => {
    await answer.promise
    return {}
  })
  await database.declare([
    { name: 'work', target: { url: fn.url, mode: 'sync' } },
    { name: 'slow', target: { url: slow.url, mode: 'sync' } },
  ])
  const full = await database.maintain({ listen: true, inHand: 4 })
  await database.enqueueMany('slow', 4)
  await slow.received.until({}, 4)
  const other = await database.maintain({ listen: true })
  await other.events.until({ type: 'asleep' })
  await database.enqueueMany('work', 200)
  await other.events.until({ type: 'closed', kind: 'work' }, 200)
  answer.resolve()
  await full.events.until({ type: 'closed', kind: 'slow' }, 4)
})

test('one that was taken for dead while it slept registers anew and is woken as before', async () => {
  const { database } = await withFunction()
  const work = await database.maintain({ listen: true })
  await work.events.until({ type: 'asleep' })
  await database.sql`delete from millrace.runtime`
  // Falls asleep again, under its new id, with its flag up.
  await work.events.until({ type: 'asleep' }, 2)
  expect(await database.sql`select sleeping from millrace.runtime`).toEqual([{ sleeping: true }])
  await work.closed(await database.enqueue('work'), 'completed')
})
