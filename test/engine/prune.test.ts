// Segments: rotate opens the next one, survey finds the drained ones, prune empties the oldest and carries what is open.

import { expect, test, vi } from 'vitest'
import {
  claimAll,
  close,
  completed,
  enqueue,
  failed,
  fatal,
  ref,
  running,
  useEngine,
  view,
} from '../support/engine-database.ts'

const database = useEngine()

const segments = async () =>
  (await database.sql`select number::int from millrace.segment order by number`).map(s => s.number)
const drained = async () =>
  (await database.sql`select number::int from millrace.segment where drained`).map(s => s.number)
const rotate = async () => (await database.sql`select millrace.rotate()::int as number`)[0]?.number
const survey = () => database.sql`select millrace.survey()`
const prune = async () => (await database.sql`select millrace.prune() as pruned`)[0]?.pruned
const setting = (name: string, value: number) =>
  database.sql`update millrace.setting set value = ${value} where name = ${name}`

/** The newest segment is old enough to be sealed. */
const age = () => database.sql`update millrace.segment set opened_at = opened_at - interval '5 hours'`
/** Every sealed segment's retention is over. */
const outlive = () => database.sql`update millrace.segment set opened_at = opened_at - interval '2 days'`

/** Transactions of other databases count too, so it may take a moment. */
const untilDrained = (segment: number) =>
  vi.waitFor(
    async () => {
      await survey()
      expect(await drained()).toContain(segment)
    },
    { timeout: 15_000 },
  )

/** Seals the newest segment, waits until nobody can have missed that, and prunes. */
async function turnOver() {
  await age()
  const sealed = (await rotate()) - 1
  await untilDrained(sealed)
  await outlive()
  return prune()
}

const rows = async (table: string) =>
  Number((await database.sql.unsafe(`select count(*) as n from millrace.${table}`))[0]?.n)

test('a segment is sealed by age or by size, and only if there is something in it', async () => {
  expect(await rotate()).toBeNull()
  await age()
  expect(await rotate()).toBeNull()
  await enqueue(database.sql)
  expect(await rotate()).toBe(1)
  await enqueue(database.sql)
  expect(await rotate()).toBeNull()
  await setting('rotate_bytes', 1000)
  expect(await rotate()).toBe(2)
  await setting('rotate_bytes', 2 ** 30)
  expect(await segments()).toEqual([0, 1, 2])
})

test('of the eight slots one stays free', async () => {
  for (let n = 1; n <= 9; n++) {
    await enqueue(database.sql)
    await age()
    await rotate()
  }
  expect(await segments()).toEqual([0, 1, 2, 3, 4, 5, 6])
})

test('jobs are claimed across segments, the oldest first', async () => {
  const first = await enqueue(database.sql, 2)
  await age()
  await rotate()
  const second = await enqueue(database.sql, 2)
  const jobs = await claimAll(database)
  expect(jobs.map(({ id }) => id)).toEqual([...first, ...second])
  expect(jobs.map(({ segment }) => segment)).toEqual(['0', '0', '1', '1'])
})

test('a sealed segment is drained once all of it is claimed, and claim looks there no more', async () => {
  await enqueue(database.sql, 3)
  await age()
  await rotate()
  await survey()
  expect(await drained()).toEqual([])
  await claimAll(database, 2)
  await survey()
  expect(await drained()).toEqual([])
  await claimAll(database)
  await untilDrained(0)
})

test('a transaction that was open when its segment was sealed has its jobs claimed', async () => {
  const slow = await database.connect()
  await slow`begin`
  const [late] = await enqueue(slow)
  const [other] = await enqueue(database.sql)
  await claimAll(database)
  await age()
  await rotate()
  await survey()
  expect(await drained()).toEqual([])
  await slow`commit`
  expect((await claimAll(database)).map(({ id }) => id)).toEqual([late])
  await untilDrained(0)
  expect(other).toBeDefined()
})

test('a finished job is readable until its retention is over, then gone with its segment', async () => {
  const job = await running(database)
  await close(database, job, completed)
  await age()
  await rotate()
  await untilDrained(0)
  expect(await prune()).toBeNull()
  expect(await view(database, job.id)).toMatchObject({ state: 'completed' })
  await outlive()
  await database.sql`update millrace.outcome_log set finished_at = finished_at - interval '2 days'`
  expect(await prune()).toEqual({ segment: 0, carried: 0, archived: 0 })
  expect(await database.engine.job(job.id)).toBeUndefined()
  expect(await segments()).toEqual([1])
  for (const log of ['job_log', 'claim_log', 'outcome_log']) expect(await rows(log)).toBe(0)
})

test('a job that finished lately outlives its segment, as long as its queue asks for', async () => {
  await database.sql`insert into millrace.queue (name, retention_seconds, dead_letters) values ('kept', 864000, false)`
  const [late, kept] = [await running(database), await running(database, { queue: 'kept' })]
  const unhappy = await running(database, { queue: 'kept' })
  for (const job of [late, kept]) await close(database, job, { kind: 'completed', result: { page: 7 } })
  await close(database, unhappy, fatal)
  expect(await turnOver()).toEqual({ segment: 0, carried: 0, archived: 3 })
  expect(await view(database, late.id)).toMatchObject({ state: 'completed', result: { page: 7 }, args: { n: 0 } })
  expect(await view(database, unhappy.id)).toMatchObject({ state: 'failed', errors: [{ message: 'no such order' }] })
  const [days] = await database.sql`
    select extract(day from expires_at - now())::int as days from millrace.archive where id = ${kept.id}`
  expect(days?.days).toBeGreaterThanOrEqual(9)
})

test('a dead letter needs no place in the archive', async () => {
  const job = await running(database)
  await close(database, job, fatal)
  expect(await turnOver()).toEqual({ segment: 0, carried: 0, archived: 0 })
  expect(await view(database, job.id)).toMatchObject({ state: 'failed', errors: [{ message: 'no such order' }] })
  const [retried] = await database.sql`select * from millrace.retry(array[${job.id}::bigint])`
  expect(retried).toMatchObject({ state: 'available', retried: true })
  expect(await claimAll(database)).toMatchObject([{ id: job.id, attempt: 2 }])
})

test('open attempts are carried: running, accepted, beating; each ends once, under the name it was given', async () => {
  const [run, wait, beat] = [await running(database), await running(database), await running(database)]
  await database.engine.park([wait], 60)
  await database.engine.heartbeat([{ ...ref(beat), timeoutSeconds: 60, progress: { percent: 40 } }])
  expect(await turnOver()).toEqual({ segment: 0, carried: 3, archived: 0 })
  expect(await view(database, run.id)).toMatchObject({ state: 'running', attempt: 1 })
  expect(await view(database, wait.id)).toMatchObject({ state: 'waiting_external', attempt: 1 })
  expect(await view(database, beat.id)).toMatchObject({ progress: { percent: 40 } })
  expect(await claimAll(database)).toEqual([])

  expect(await close(database, run, completed)).toEqual({ state: 'completed', fresh: true })
  expect(await close(database, run, fatal)).toEqual({ state: 'completed', fresh: false })
  expect(await database.engine.heartbeat([{ ...ref(beat), timeoutSeconds: 60 }])).toEqual([
    { state: 'waiting_external' },
  ])
  expect(await close(database, beat, failed('again', 0))).toEqual({ state: 'retryable', fresh: true })
  await database.sql`update millrace.park_log set deadline = now() - interval '1 second'`
  expect(await database.engine.rescue(10)).toMatchObject({ parked: 1 })
  expect(await view(database, wait.id)).toMatchObject({ state: 'retryable', errors: [{ code: 'callback_timeout' }] })
})

test('what is open may be carried again and again', async () => {
  const job = await running(database)
  for (let n = 0; n < 10; n++) {
    await close(database, await running(database), completed)
    expect(await turnOver()).toMatchObject({ segment: n, carried: 1 })
  }
  expect(await rows('carried')).toBe(1)
  expect(await close(database, job, completed)).toEqual({ state: 'completed', fresh: true })
  await enqueue(database.sql)
  await claimAll(database)
  expect(await turnOver()).toMatchObject({ segment: 10, carried: 1, archived: 1 })
  expect(await view(database, job.id)).toMatchObject({ state: 'completed' })
})

test("a dead dispatcher's carried attempts are rescued", async () => {
  const job = await running(database)
  expect(await turnOver()).toMatchObject({ carried: 1 })
  await database.sql`update millrace.runtime set lost_at = now() - interval '1 second'`
  expect(await database.engine.rescue(10)).toMatchObject({ lost: 1 })
  expect(await view(database, job.id)).toMatchObject({ state: 'retryable', attempt: 2 })
})

test('prune does not wait for a transaction that has written to the slot', async () => {
  await close(database, await running(database), completed)
  const slow = await database.connect()
  await slow`begin`
  const [late] = await enqueue(slow)
  await age()
  await rotate()
  await database.sql`update millrace.segment set drained = true where number = 0`
  await outlive()
  await expect(prune()).rejects.toMatchObject({ code: '55P03' })
  expect(await segments()).toEqual([0, 1])
  await slow`commit`
  expect(await prune()).toMatchObject({ segment: 0, carried: 1 })
  expect((await claimAll(database)).map(({ id }) => id)).toEqual([late])
})

test('prune makes nobody wait for a cancel in a transaction that takes its time', async () => {
  await close(database, await running(database), completed)
  const slow = await database.connect()
  await slow`begin`
  await slow`select * from millrace.cancel(array[${(await enqueue(database.sql))[0] as string}::bigint])`
  await slow`select pg_sleep(1)`
  await age()
  await rotate()
  await database.sql`update millrace.segment set drained = true where number = 0`
  await outlive()
  await expect(prune()).rejects.toThrow('a transaction has held segment 0 for long')
  await slow`rollback`
  expect(await prune()).toMatchObject({ segment: 0, carried: 1 })
})

test('a transaction with an old snapshot that enqueues into an emptied slot loses nothing', async () => {
  await close(database, await running(database), completed)
  const old = await database.connect()
  await old`begin isolation level repeatable read`
  await old`select number from millrace.segment`
  expect(await turnOver()).toMatchObject({ segment: 0 })
  const [late] = await enqueue(old)
  await old`commit`
  expect(await claimAll(database)).toEqual([])
  expect(await prune()).toEqual({ segment: null, carried: 1, archived: 0 })
  expect((await claimAll(database)).map(({ id }) => id)).toEqual([late])
})

test('truncates under a snapshot of long ago', async () => {
  const old = await database.connect()
  await old`begin isolation level repeatable read`
  await old`select 1`
  await setting('retention_seconds', 0)
  for (let n = 0; n < 12; n++) {
    await enqueue(database.sql, 5)
    for (const job of await claimAll(database)) await close(database, job, completed)
    expect(await turnOver()).toMatchObject({ segment: n, carried: 0 })
  }
  await setting('retention_seconds', 86_400)
  expect(await rows('job_log')).toBe(0)
})

test('a unique key is given up with the last trace of its job', async () => {
  const [id] = await enqueue(database.sql)
  await database.sql`insert into millrace.unique_lock (key, job, states) values ('k', ${id as string}, 8)`
  for (const job of await claimAll(database)) await close(database, job, completed)
  await setting('retention_seconds', 0)
  await turnOver()
  await setting('retention_seconds', 86_400)
  expect(await rows('unique_lock')).toBe(0)
})

test('... or, if that is in the archive, when it leaves there', async () => {
  const job = await running(database)
  await database.sql`insert into millrace.unique_lock (key, job, states) values ('k', ${job.id}, 8)`
  await close(database, job, completed)
  expect(await turnOver()).toMatchObject({ archived: 1 })
  expect(await rows('unique_lock')).toBe(1)
  await database.sql`update millrace.archive set expires_at = now()`
  const [lead] = await database.sql`select millrace.lead('maintenance', 'test', 60) as epoch`
  await database.sql`select millrace.expire(${lead?.epoch}, 10)`
  expect(await rows('archive')).toBe(0)
  expect(await rows('unique_lock')).toBe(0)
})

test('jobs are brought forward from a lane that is busy, and not passed over as if there were none', async () => {
  await database.sql`select millrace.pause_queue('default')`
  await enqueue(database.sql, 3)
  await age()
  await rotate()
  await outlive()
  const [lane] = await database.sql`select id::text from millrace.lane where queue = 'default'`
  await database.sql.begin(async tx => {
    await tx`select pg_advisory_xact_lock(${lane?.id}::text::bigint)`
    await expect(prune()).rejects.toMatchObject({ code: '55P03' })
  })
  expect(await prune()).toEqual({ segment: 0, forwarded: 3 })
})

test('a paused queue keeps nobody from pruning: its jobs are brought forward, in their order', async () => {
  await database.sql`insert into millrace.queue (name, paused_at) values ('paused', now())`
  await close(database, await running(database), completed)
  const ids = await enqueue(database.sql, 5, { queue: 'paused', max_attempts: 1 })
  await age()
  await rotate()
  await survey()
  await outlive()
  expect(await prune()).toEqual({ segment: 0, forwarded: 5 })
  await untilDrained(0)
  expect(await prune()).toMatchObject({ segment: 0, carried: 0 })
  expect(await claimAll(database)).toEqual([])
  await database.sql`update millrace.queue set paused_at = null`
  const jobs = await claimAll(database)
  expect(jobs.map(({ id }) => id)).toEqual(ids)
  expect(jobs[0]).toMatchObject({ attempt: 2, max_attempts: 2 })
  expect(await rows("runtime where name = 'prune'")).toBe(0)
})
