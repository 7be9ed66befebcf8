// Nothing is lost and no attempt ends twice when a part fails: the dispatcher, the database's connections, the ingress.

import type { Sql } from 'millrace'
import { toSql } from 'millrace'
import { describe, expect, test } from 'vitest'
import type { PostgresSql } from '../../functions/node/postgres-sql.ts'
import { callBack, send, startFunctionServer } from '../support/function-server.ts'
import { startIngress } from '../support/ingress.ts'
import { freshDatabase } from '../support/maintenance.ts'
import { startProxy } from '../support/maintenance-proxy.ts'

type Database = Awaited<ReturnType<typeof freshDatabase>>

/** Lets a runtime look as if it had been silent for an hour. */
const silence = (database: Database, name: string) =>
  database.sql`update millrace.runtime set seen_at = now() - interval '1 hour', lost_at = now() - interval '1 second' where name = ${name}`

/** Every job is completed, and each attempt has one outcome. */
async function expectAllDone(database: Database, jobs: readonly string[]) {
  const rows = await database.sql`select id from millrace.outcome_log where state = 'c'`
  expect(rows.map(({ id }) => String(id)).toSorted()).toEqual(jobs.toSorted())
  const [open] = await database.sql`
    select count(*)::int as attempts from millrace.job_log j
    where not exists (select from millrace.outcome_log o where (o.id, o.attempt, o.slot) = (j.id, j.attempt, j.slot))`
  expect(open).toEqual({ attempts: 0 })
}

describe('a connection breaks', () => {
  test.each(['claim', 'close', 'promote'])(
    'after %s was carried out and before its answer came: nothing is lost',
    async verb => {
      const database = await freshDatabase()
      const fn = await startFunctionServer((_, nth) => (nth <= 5 ? { status: 500 } : {}))
      await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync' } }])
      let faults = 0
      const losingAnswers = (sql: PostgresSql): Sql => ({
        async query<Row>(text: string, params = []) {
          const rows = await sql.query<Row>(text, params)
          if (!text.includes(`.${verb}(`) || rows.length === 0 || faults >= 3) return rows
          if (verb === 'promote' && (rows[0] as { promoted: number }).promoted === 0) return rows
          faults++
          throw Object.assign(new Error('the connection broke'), { code: 'CONNECTION_CLOSED' })
        },
      })
      // What was claimed unseen is left to rescue, once its runtime counts as dead.
      if (verb === 'claim')
        await database.sql`update millrace.setting set value = 2 where name = 'runtime_lost_seconds'`
      const work = await database.maintain({ wrap: losingAnswers, name: 'unlucky', pulseMs: 50 })
      const jobs = [...(await database.enqueueMany('work', 10)), ...(await database.enqueueMany('work', 10))]
      await work.events.until(({ type }) => type === 'error')
      if (verb === 'claim') await work.events.until(({ type }) => type === 'rescued')
      await expect.poll(async () => (await database.outcomes()).c, { timeout: 15_000, interval: 50 }).toBe(jobs.length)
      expect(faults).toBeGreaterThan(0)
      await work.stop()
      await expectAllDone(database, jobs)
    },
  )

  test('all of them at once, again and again: work goes on, nothing is lost or doubled', async () => {
    const database = await freshDatabase()
    const fn = await startFunctionServer()
    await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync', concurrency: 8 } }])
    const jobs = await database.enqueueMany('work', 300)
    await database.sql`update millrace.setting set value = 1 where name = 'runtime_lost_seconds'`
    const work = await database.maintain({ listen: true, name: 'victim', batch: 20, pulseMs: 50 })
    for (let sent = 50; sent <= 200; sent += 50) {
      await fn.received.until({}, sent)
      await database.sql`select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'victim' and datname = current_database()`
    }
    await expect.poll(async () => (await database.outcomes()).c, { timeout: 15_000, interval: 50 }).toBe(jobs.length)
    await work.stop()
    await expectAllDone(database, jobs)
  })

  test('that of LISTEN: it listens again and is woken as before', async () => {
    const database = await freshDatabase()
    const fn = await startFunctionServer()
    await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync' } }])
    const work = await database.maintain({ listen: true, name: 'sleeper' })
    await work.events.until({ type: 'asleep' })
    await database.sql`select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'sleeper' and datname = current_database() and query ilike 'listen%'`
    await work.closed(await database.enqueue('work'), 'completed')
    await work.closed(await database.enqueue('work'), 'completed')
  })

  test('and the server takes none for a while: it comes back by itself, and LISTEN with it', async () => {
    const database = await freshDatabase()
    const fn = await startFunctionServer()
    await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync' } }])
    const proxy = await startProxy(database.url)
    const work = await database.maintain({ listen: true, databaseUrl: proxy.url, name: 'cut_off' })
    await work.events.until({ type: 'asleep' })
    proxy.refuse()
    const job = await database.enqueue('work')
    await work.events.until({ type: 'error' }, 2)
    proxy.restore()
    await work.closed(job, 'completed')
    await expect
      .poll(
        () => database.sql`select 1 from pg_stat_activity where application_name = 'cut_off' and query ilike 'listen%'`,
        {
          timeout: 15_000,
        },
      )
      .toHaveLength(1)
    await work.closed(await database.enqueue('work'), 'completed')
  })
})

describe('a dispatcher that was taken for dead', () => {
  test('claims nothing under its old id', async () => {
    const database = await freshDatabase()
    const runtime = await database.engine.runtimeStart('frozen')
    await silence(database, 'frozen')
    await database.engine.rescue(10)
    await database.enqueue('work')
    await expect(database.engine.claim(runtime, 10)).rejects.toThrow('was given up')
    const other = await database.engine.runtimeStart('other')
    expect(await database.engine.claim(other, 10)).toHaveLength(1)
  })

  test('is seen with its last claim by a rescue that runs at the same time', async () => {
    const database = await freshDatabase()
    const runtime = await database.engine.runtimeStart('slow')
    await silence(database, 'slow')
    const id = await database.enqueue('work')
    await database.sql.begin(async tx => {
      await tx`select * from millrace.claim(${runtime}::text::bigint, 10)`
      // Gives nothing up before the claim has been committed.
      expect(await database.engine.rescue(10)).toEqual({ parked: 0, lost: 0, stuck: 0 })
    })
    expect(await database.engine.rescue(10)).toEqual({ parked: 0, lost: 1, stuck: 0 })
    expect(await database.job(id)).toMatchObject({ state: 'retryable', errors: [{ code: 'dispatcher_lost' }] })
  })

  test('works on under a new one, and the jobs that were rescued end once', async () => {
    const database = await freshDatabase()
    const fn = await startFunctionServer((_, nth) => (nth === 1 ? undefined : {}))
    await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync' } }])
    const frozen = await database.maintain({ name: 'frozen', pulseMs: 50 })
    const id = await database.enqueue('work')
    const held = await fn.received.first({})
    await database.sql.begin(async tx => {
      await tx`update millrace.runtime set seen_at = now() - interval '1 hour', lost_at = now() - interval '1 second' where name = 'frozen'`
      await tx`select millrace.rescue(10)`
    })
    await frozen.closed(id, 'completed')
    send(held.response, {})
    await frozen.events.until({ type: 'closed', job: id, attempt: 1, fresh: false })
    expect(await database.job(id)).toMatchObject({
      state: 'completed',
      attempt: 2,
      errors: [{ code: 'dispatcher_lost' }],
    })
    await frozen.closed(await database.enqueue('work'), 'completed')
  })
})

test('a heartbeat that crosses the end of its attempt leaves nothing behind that would keep rescue busy', async () => {
  const database = await freshDatabase()
  await database.enqueue('work')
  const [claimed] = await database.engine.claim(await database.engine.runtimeStart('test'), 1)
  const { segment = '', id = '', attempt = 0 } = claimed ?? {}
  await database.sql.begin(async tx => {
    await tx`select * from millrace.heartbeat(array[${segment}::text::bigint], array[${id}::text::bigint], array[${attempt}::text::int], array[0.001])`
    await database.engine.close([{ segment, id, attempt, outcome: { kind: 'completed' } }])
  })
  expect(await database.sql`select id from millrace.attempt_state`).toHaveLength(1)
  await database.engine.rescue(10)
  expect(await database.sql`select id from millrace.attempt_state`).toHaveLength(0)
  expect(await database.job(id)).toMatchObject({ state: 'completed' })
})

test('the ingress is away while functions call back: they repeat it, and the attempt is closed', async () => {
  const database = await freshDatabase()
  let away = true
  const fn = await startFunctionServer(() => ({ status: 202 }))
  const ingress = await startIngress({
    query: (text, params) =>
      away ? Promise.reject(new Error('the database is away')) : toSql(database.sql).query(text, params),
  })
  await database.declare([{ name: 'work', target: { url: fn.url } }])
  const work = await database.maintain({ callbackUrl: ingress.url })
  const id = await database.enqueue('work')
  const received = await fn.received.first({})
  await work.events.until({ type: 'parked', job: id })
  expect(await callBack(received)).toMatchObject({ status: 503, body: { code: 'unavailable' } })
  away = false
  expect(await callBack(received)).toMatchObject({ status: 200, body: { state: 'completed' } })
  expect(await database.job(id)).toMatchObject({ state: 'completed', attempt: 1 })
})
