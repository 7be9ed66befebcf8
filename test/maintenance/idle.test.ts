// What it costs to have nothing to do: at most 120 statements an hour. And what a sleeping process notices all the same.

import type { Sql } from 'millrace'
import { expect, test } from 'vitest'
import type { PostgresSql } from '../../functions/node/postgres-sql.ts'
import { startFunctionServer } from '../support/function-server.ts'
import { freshDatabase } from '../support/maintenance.ts'
import { Recorder } from '../support/maintenance-recorder.ts'

interface Statement {
  readonly text: string
  readonly params: readonly unknown[]
}

/** A pulse asks whether it is asleep with its fourth parameter, and says how often it comes with its third, in seconds. */
const asleepPulse = ({ text, params }: Statement) => text.includes('.pulse(') && params[3] === true

function noting() {
  const statements = new Recorder<Statement>()
  const wrap = (sql: PostgresSql): Sql => ({
    query: (text, params = []) => {
      statements.push({ text, params })
      return sql.query(text, params)
    },
  })
  return { statements, wrap }
}

/** A database with a past and a future: finished jobs of both modes, a deferred one, a paused queue, a dead letter. */
async function livedIn() {
  const database = await freshDatabase()
  const fn = await startFunctionServer(({ body }) => ({ status: body.kind === 'broken' ? 400 : 200 }))
  const target = { url: fn.url, mode: 'sync' } as const
  await database.declare([
    { name: 'work', target },
    { name: 'broken', target },
  ])
  const first = await database.maintain()
  const jobs = [await database.enqueue('work'), await database.enqueue('broken')]
  await Promise.all(jobs.map(job => first.closed(job)))
  const runtime = await database.engine.runtimeStart('function')
  await database.enqueue('work', {}, { queue: 'callbacks' })
  await first.stop()
  const claimed = await database.engine.claim(runtime, 1)
  await database.engine.park(claimed, 0.001)
  await database.engine.close(claimed.map(job => ({ ...job, outcome: { kind: 'completed' } })))
  await database.engine.runtimeStop(runtime)
  await database.enqueue('work', {}, { delay_seconds: 3_600 })
  await database.sql`insert into millrace.queue (name, paused_at) values ('later', now())`
  await database.enqueue('work', {}, { queue: 'later' })
  return database
}

test.each([{}, { noDispatch: true }, { onlyDispatch: true }])(
  'at most 120 statements an hour with nothing to do: %o',
  async role => {
    const database = await livedIn()
    const { statements, wrap } = noting()
    // Every 50 ms stand for 40 s.
    const work = await database.maintain({ listen: true, wrap, pulseMs: 500, asleepPulseMs: 50, ...role })
    await statements.until(asleepPulse, 3)
    const from = statements.all.length
    const before = statements.of(asleepPulse).length
    await statements.until(asleepPulse, before + 30)
    const cycles = statements.of(asleepPulse).length - before
    const perHour = ((statements.all.length - from) / cycles) * (3_600 / 40)
    expect(perHour).toBeLessThanOrEqual(120)
    await work.stop()
    const [slept] = work.events.of({ type: 'slept' }) as { seconds: number; statements: number }[]
    expect(slept?.seconds).toBeGreaterThan(0)
    expect(slept?.statements).toBeGreaterThanOrEqual(30)
    expect(work.events.of({ type: 'error' })).toEqual([])
  },
)

test('beside another one that falls asleep as well it does not look for its attempts in vain', async () => {
  const database = await freshDatabase()
  const { statements, wrap } = noting()
  const asleep = { listen: true, asleepPulseMs: 500 }
  await database.sql`update millrace.setting set value = 2 where name = 'runtime_lost_seconds'`
  const [work, other] = [await database.maintain({ ...asleep, wrap }), await database.maintain(asleep)]
  await Promise.all([work, other].map(({ events }) => events.first({ type: 'asleep' })))
  await statements.until(asleepPulse, 6)
  expect(statements.of(({ text }) => text.includes('.rescue('))).toEqual([])
})

test('asleep it pulses every 40 s, unless told otherwise', async () => {
  const database = await freshDatabase()
  const { statements, wrap } = noting()
  await database.maintain({ listen: true, wrap, asleepPulseMs: undefined })
  const { params } = await statements.first(asleepPulse)
  expect(params[2]).toBe(40)
  const lostIn = async () =>
    (await database.sql`select extract(epoch from lost_at - now())::float8 as seconds from millrace.runtime`)[0]
      ?.seconds
  await expect.poll(lostIn, { timeout: 10_000 }).toBeGreaterThan(100)
})

test('work that it slept into takes its patience back: it counts as lost as early as any other one that works', async () => {
  const database = await freshDatabase()
  const answer = Promise.withResolvers<void>()
  const fn = await startFunctionServer(async () => {
    await answer.promise
    return {}
  })
  await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync' } }])
  const { statements, wrap } = noting()
  const work = await database.maintain({ listen: true, wrap, asleepPulseMs: 40_000 })
  await statements.first(asleepPulse)
  const job = await database.enqueue('work')
  await fn.received.first({})
  const lostIn = async () =>
    (await database.sql`select extract(epoch from lost_at - now())::float8 as seconds from millrace.runtime`)[0]
      ?.seconds
  await expect.poll(lostIn, { interval: 10 }).toBeLessThanOrEqual(45)
  answer.resolve()
  await work.closed(job, 'completed')
})

test('a notification that got lost: the next pulse sees the work', async () => {
  const database = await freshDatabase()
  const fn = await startFunctionServer()
  await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync' } }])
  const { statements, wrap } = noting()
  const work = await database.maintain({ deaf: true, wrap })
  await statements.first(asleepPulse)
  await work.closed(await database.enqueue('work'), 'completed')
})

test('what is due is done when it is due, however seldom it pulses: a callback that does not come', async () => {
  const database = await freshDatabase()
  const fn = await startFunctionServer(() => ({ status: 202 }))
  const mode = { url: fn.url, mode: 'callback', callbackTimeoutSeconds: 2 } as const
  await database.declare([{ name: 'work', target: mode, maxAttempts: 1 }])
  const callbackUrl = 'http://127.0.0.1:1'
  const work = await database.maintain({ listen: true, callbackUrl, pulseMs: 100, asleepPulseMs: 40_000 })
  const job = await database.enqueue('work')
  await work.events.first({ type: 'rescued', parked: 1 })
  expect(await database.job(job)).toMatchObject({ state: 'failed' })
})

test('asleep it sees each of several deadlines in turn', async () => {
  const database = await freshDatabase()
  const fn = await startFunctionServer(() => ({ status: 202 }))
  const kinds = [1, 2, 3].map(seconds => ({
    name: `silent_${seconds}`,
    target: { url: fn.url, mode: 'callback', callbackTimeoutSeconds: seconds + 1 } as const,
    maxAttempts: 1,
  }))
  await database.declare(kinds)
  const callbackUrl = 'http://127.0.0.1:1'
  const work = await database.maintain({ listen: true, callbackUrl, pulseMs: 100, asleepPulseMs: 40_000 })
  await Promise.all(kinds.map(({ name }) => database.enqueue(name)))
  await work.events.until({ type: 'rescued', parked: 1 }, 3)
})

test('asleep it learns of a short wait that somebody else puts down', async () => {
  const database = await freshDatabase()
  const work = await database.maintain({ listen: true, pulseMs: 100, asleepPulseMs: 40_000 })
  const other = await database.engine.runtimeStart('another')
  await database.sql`update millrace.runtime set lost_at = now() + interval '1 hour' where id = ${other}`
  await database.sql`insert into millrace.queue (name, paused_at) values ('elsewhere', now())`
  const id = await database.enqueue('work', {}, { queue: 'elsewhere' })
  await work.events.until({ type: 'asleep' })
  const [job] = await database.sql`select segment, id, attempt from millrace.claim(${other}, 1, null, 0)`
  await database.sql`select millrace.wait(${job?.segment}, ${id}, ${job?.attempt}, 'payment', 1)`
  await work.events.until({ type: 'rescued', parked: 1 })
  expect(await database.job(id)).toMatchObject({ state: 'failed', errors: [{ code: 'wait_timeout' }] })
})
