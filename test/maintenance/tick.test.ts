// tick: one bounded slice of everything, by anyone, at any time, that leaves nothing behind.

import { type TickOptions, tick } from 'millrace/maintenance'
import { formatKeyring } from 'millrace/protocol'
import { expect, onTestFinished, test } from 'vitest'
import { postgresSql } from '../../functions/node/postgres-sql.ts'
import { undiciTransport } from '../../functions/node/undici-transport.ts'
import { runCli } from '../support/cli.ts'
import { startFunctionServer } from '../support/function-server.ts'
import { keyring } from '../support/ingress.ts'
import { freshDatabase } from '../support/maintenance.ts'

type Database = Awaited<ReturnType<typeof freshDatabase>>

const nothing = { promoted: 0, rescued: 0, claimed: 0, dispatched: 0, closed: 0, parked: 0, fired: 0, more: false }

/** Ticks on connections of its own. */
function ticking({ url }: Database) {
  const sql = postgresSql(url, { max: 4 })
  const transport = undiciTransport({ allow: ['loopback'] })
  onTestFinished(async () => {
    await transport.end()
    await sql.end(1)
  })
  return (options: Partial<TickOptions> = {}) => tick({ sql, transport, keyring, budgetMs: 10_000, ...options })
}

async function expectNothingLeft(database: Database) {
  expect(await database.sql`select name from millrace.runtime`).toEqual([])
  expect(await database.sql`select holder from millrace.leader where until > now()`).toEqual([])
}

test('with nothing to do it ends at once, and leaves nothing behind', async () => {
  const database = await freshDatabase()
  expect(await ticking(database)()).toEqual(nothing)
  await expectNothingLeft(database)
})

test('it promotes, rescues, rotates, sends jobs and puts on record what became of them', async () => {
  const database = await freshDatabase()
  const fn = await startFunctionServer(({ body }) => ({ status: body.kind === 'async' ? 202 : 200 }))
  await database.declare([
    { name: 'work', target: { url: fn.url, mode: 'sync' } },
    { name: 'async', target: { url: fn.url, mode: 'callback' } },
  ])
  const lost = await database.enqueue('work')
  await database.engine.claim(await database.engine.runtimeStart('gone'), 1)
  await database.sql`update millrace.runtime set lost_at = now() - interval '1 second'`
  const deferred = await database.enqueue('work', {}, { delay_seconds: 60 })
  await database.passTime()
  const jobs = [lost, deferred, ...(await database.enqueueMany('work', 20))]
  const parked = await database.enqueue('async')
  await database.sql`update millrace.segment set opened_at = now() - interval '5 hours'`
  const rotated: string[] = []
  const summary = await ticking(database)({
    callbackUrl: 'http://127.0.0.1:1',
    onEvent: event => event.type === 'rotated' && rotated.push(event.segment),
  })
  expect(summary).toEqual({
    ...{ promoted: 2, rescued: 1, claimed: 23, dispatched: 23, closed: 22, parked: 1, fired: 0, more: false },
  })
  expect(rotated).toEqual(['1'])
  for (const job of jobs) expect(await database.job(job)).toMatchObject({ state: 'completed' })
  expect(await database.job(parked)).toMatchObject({ state: 'waiting_external' })
  await expectNothingLeft(database)
})

test('when the budget is over, what is in flight is given up and what was not sent is handed back', async () => {
  const database = await freshDatabase()
  const fn = await startFunctionServer(() => undefined)
  await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync', concurrency: 2 } }])
  const jobs = await database.enqueueMany('work', 6)
  const began = performance.now()
  const summary = await ticking(database)({ budgetMs: 1_000 })
  expect(performance.now() - began).toBeLessThan(4_000)
  expect(summary).toMatchObject({ claimed: 6, dispatched: 2, closed: 0, more: true })
  expect(await database.outcomes()).toEqual({ s: 6 })
  for (const job of jobs) expect(await database.job(job)).toMatchObject({ state: 'available', errors: [] })
  await expectNothingLeft(database)
})

test('many at once, beside a process that stays: every job ends once, and one leads at a time', async () => {
  const database = await freshDatabase()
  const ticked = Promise.withResolvers<void>()
  const fn = await startFunctionServer(() => ticked.promise.then(() => ({})))
  await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync' } }])
  const work = await database.maintain({ listen: true, inHand: 10 })
  const jobs = await database.enqueueMany('work', 400)
  const run = ticking(database)
  const onEvent: TickOptions['onEvent'] = ({ type }) => type === 'claimed' && ticked.resolve()
  const summaries = await Promise.all(Array.from({ length: 5 }, () => run({ batch: 20, inHand: 40, onEvent })))
  await expect.poll(async () => (await database.outcomes()).c, { timeout: 15_000, interval: 20 }).toBe(jobs.length)
  expect(await database.outcomes()).toEqual({ c: jobs.length })
  expect(fn.received.all).toHaveLength(jobs.length)
  expect(summaries.reduce((sum, { closed }) => sum + closed, 0)).toBeGreaterThan(0)
  await work.stop()
  await expectNothingLeft(database)
})

test('it fires schedules', async () => {
  const database = await freshDatabase()
  const fn = await startFunctionServer()
  await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync' } }])
  await database.sql`
    insert into millrace.schedule (name, expression, timezone, kind, args, missed, overlap, source, done_to)
    values ('hourly', '0 * * * *', 'UTC', 'work', '{}', 'coalesce', 'allow', 'default', now() - interval '3 hours')`
  expect(await ticking(database)()).toEqual({ ...nothing, fired: 1, claimed: 1, dispatched: 1, closed: 1 })
})

test('it leaves the lead to whoever has it', async () => {
  const database = await freshDatabase()
  const work = await database.maintain({ noDispatch: true })
  await work.events.first({ type: 'leading', epoch: '1' })
  expect(await ticking(database)()).toEqual(nothing)
  expect(await database.sql`select epoch::int from millrace.leader where until > now()`).toEqual([{ epoch: 1 }])
})

test('what breaks is told once nothing runs any more', async () => {
  const database = await freshDatabase()
  await expect(ticking(database)({ schema: 'missing' })).rejects.toMatchObject({ code: 'schema_missing' })
})

test('millrace tick prints what it came to', async () => {
  const database = await freshDatabase()
  const fn = await startFunctionServer()
  await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync' } }])
  const env = { DATABASE_URL: database.url, MILLRACE_KEYS: formatKeyring(keyring) }
  await database.enqueue('work')
  const json = await runCli(['tick', '--budget', '10', '--json'], { env })
  expect(json).toMatchObject({ status: 0, stderr: '' })
  expect(JSON.parse(json.stdout)).toEqual({ ...nothing, claimed: 1, dispatched: 1, closed: 1 })
  const [plain, wrong] = await Promise.all([runCli(['tick'], { env }), runCli(['tick', '--budget', '0'], { env })])
  expect(plain).toMatchObject({ status: 0, stdout: 'millrace tick: nothing to do\n' })
  expect(wrong).toMatchObject({ status: 2 })
  await expectNothingLeft(database)
})
