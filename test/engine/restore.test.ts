// Dump and restore into another cluster, whose transaction ids are others: everything that was open goes on, once.

import { toSql } from 'millrace'
import { startPostgres } from 'millrace/node'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { ClaimedJob } from '../../core/engine-rows.ts'
import { SqlEngine } from '../../core/sql-engine.ts'
import { migrateDatabase } from '../../functions/node/migrations.ts'
import { claimAll, close, completed, enqueue, failed, ref, useEngine } from '../support/engine-database.ts'
import { restoreInto } from '../support/restore.ts'

const here = useEngine()
let server: Awaited<ReturnType<typeof startPostgres>>
let there: postgres.Sql
let engine: SqlEngine

beforeAll(async () => {
  server = await startPostgres({ persistent: false })
  await migrateDatabase(server.url)
  there = postgres(server.url, { onnotice: () => undefined })
  engine = new SqlEngine(toSql(there))
})
afterAll(async () => {
  await there.end()
  await server.stop()
})

/** Claims and completes until nothing is left; answers the ids in the order in which they were claimed. */
async function drain(of: SqlEngine): Promise<string[]> {
  const runtime = await of.runtimeStart('after')
  const seen: string[] = []
  for (let jobs = await of.claim(runtime, 3); jobs.length > 0; jobs = await of.claim(runtime, 3)) {
    for (const job of jobs) await of.close([{ ...ref(job), outcome: completed }])
    seen.push(...jobs.map(({ id }) => id))
  }
  return seen
}

const xids = async (sql: postgres.Sql) => Number((await sql`select pg_current_xact_id()::text as x`)[0]?.x)

/** Puts a job of every state into the first server; answers the ids by state. */
async function everyState() {
  const [done, failing, running, parked] = await enqueue(here.sql, 4)
  const runtime = await here.engine.runtimeStart('before')
  const jobs = await here.engine.claim(runtime, 4)
  const claimed = (id: string | undefined) => jobs.find(job => job.id === id) as ClaimedJob
  await close(here, claimed(done), completed)
  await close(here, claimed(failing), failed('broken', 0))
  await here.engine.park([claimed(parked)], 3600)
  const [partly, available] = [await enqueue(here.sql, 5, {}, 'partly'), await enqueue(here.sql, 4, { queue: 'later' })]
  const [first] = await here.engine.claim(runtime, 1) // leaves the cursor in the middle of its window
  const [scheduled] = await enqueue(here.sql, 1, { delay_seconds: 3600 })
  return { done, failing, running, parked, partly, first, available, scheduled, claimed }
}

test.each([
  ['a younger cluster', false],
  ['an older cluster', true],
])('into %s: open jobs run once, finished ones stay finished, callbacks still close', async (_, older) => {
  if (older) {
    const ahead = (await xids(here.sql)) + 5_000
    await there.unsafe(`do $$ begin while pg_current_xact_id()::text::bigint < ${ahead} loop commit; end loop; end $$`)
    expect(await xids(there)).toBeGreaterThan(await xids(here.sql))
  } else expect(await xids(there)).toBeLessThan(await xids(here.sql))
  const was = await everyState()
  await restoreInto(here.sql, there)

  // Enqueued before anything has looked at the restored database.
  const [early] = await enqueue(there, 1)
  // The first look moves what is open into this cluster's time, the next one claims it.
  expect(await engine.claim(await engine.runtimeStart('after'), 3)).toEqual([])
  const order = await drain(engine)
  const waiting = [...was.partly, ...was.available].filter(id => id !== was.first?.id)
  expect([...order].sort()).toEqual([...waiting, early].sort())
  expect(order.filter(id => was.partly.includes(id))).toEqual(was.partly.filter(id => id !== was.first?.id))

  const state = async (id: string | undefined) => (await engine.job(id as string))?.state
  expect(await state(was.done)).toBe('completed')
  expect(await state(was.failing)).toBe('retryable')
  expect(await state(was.running)).toBe('running')
  expect(await state(was.scheduled)).toBe('scheduled')
  expect(await state(was.parked)).toBe('waiting_external')

  // The function answers with the callback id that it was given before the dump.
  expect(await engine.close([{ ...ref(was.claimed(was.parked)), outcome: completed }])).toEqual([
    { state: 'completed', fresh: true },
  ])
  expect(await state(was.parked)).toBe('completed')
  // The dispatchers of then are not here: what they held is retried.
  await there`update millrace.runtime set lost_at = now() - interval '1 second' where name = 'before'`
  await engine.rescue(100)
  expect(await state(was.running)).toBe('retryable')
  await there`update millrace.deferred set run_at = now()`
  await engine.promote(100)
  expect((await drain(engine)).sort()).toEqual([was.failing, was.running, was.first?.id, was.scheduled].sort())
})

test('into the same cluster nothing is moved', async () => {
  await enqueue(here.sql, 3)
  await here.sql`update millrace.cluster set started_at = '-infinity'`
  const [row] = await here.sql`select millrace.attach()`
  expect(row?.attach).toBe(false)
  expect(await here.sql`select number from millrace.segment`).toHaveLength(1)
  expect(await claimAll(here)).toHaveLength(3)
})

test('what is enqueued while the open jobs are taken over is run, and nothing that has ended', async () => {
  await Promise.all((await claimAll(here)).map(job => close(here, job, completed)))
  await drain(here.engine)
  const [open] = await enqueue(here.sql)
  await here.sql`update millrace.cluster set identifier = identifier + 1, started_at = '-infinity'`
  const ids = await here.sql.begin(async tx => {
    const [known] = await enqueue(tx)
    const [elsewhere] = await enqueue(tx, 1, { queue: 'new' })
    await here.sql`select millrace.attach()`
    const during = await drain(here.engine)
    return { known, elsewhere, during }
  })
  expect(ids.during).toEqual([open])
  expect((await drain(here.engine)).sort()).toEqual([ids.known, ids.elsewhere].sort())
  // Transactions of other tests' databases are waited for.
  await vi.waitFor(
    async () => {
      await here.sql`select millrace.survey()`
      expect(await here.sql`select from millrace.segment where not drained`).toHaveLength(1)
    },
    { timeout: 10_000, interval: 20 },
  )
})
