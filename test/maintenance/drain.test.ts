// How a maintenance process ends: on SIGTERM in good order, on SIGKILL in none; either way another one does the rest.

import { toSql } from 'millrace'
import { formatKeyring } from 'millrace/protocol'
import { describe, expect, onTestFinished, test } from 'vitest'
import { startCli } from '../support/cli.ts'
import { callBack, type Received, send, startFunctionServer } from '../support/function-server.ts'
import { keyring, startIngress } from '../support/ingress.ts'
import { freshDatabase } from '../support/maintenance.ts'
import { startProxy } from '../support/maintenance-proxy.ts'

/** `millrace maintain` as a process of its own. */
async function maintainProcess(url: string, ...options: string[]) {
  const started = await startCli(['maintain', '--quiet', ...options], {
    env: { DATABASE_URL: url, MILLRACE_KEYS: formatKeyring(keyring) },
  })
  expect(started.firstLine).toBe('millrace maintain: ready')
  onTestFinished(async () => {
    started.child.kill('SIGKILL')
    await started.closed
  })
  return started
}

/** Holds the first `count` requests back and answers all later ones. */
async function holdingFunction(count: number) {
  const held: Received[] = []
  const fn = await startFunctionServer((received, nth) => {
    if (nth > count) return {}
    held.push(received)
    return undefined
  })
  return { fn, held, release: () => held.map(({ response }) => send(response, {})) }
}

const soon = { timeout: 10_000, interval: 20 }

describe('SIGTERM', () => {
  test('what is in flight finishes, what was not sent is handed back, nothing new is claimed, exit 0', async () => {
    const database = await freshDatabase()
    const { fn, release } = await holdingFunction(4)
    await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync', concurrency: 4 } }])
    const jobs = await database.enqueueMany('work', 40)
    const first = await maintainProcess(database.url, '--in-hand', '20')
    await fn.received.until({}, 4)
    const inHand = async () => {
      const [row] = await database.sql`select sum(cardinality(ids))::int as jobs from millrace.claim_log`
      return row?.jobs as number
    }
    first.child.kill('SIGTERM')
    await expect.poll(async () => (await database.outcomes()).s ?? 0, soon).toBeGreaterThan(0)
    await expect.poll(async () => (await database.outcomes()).s, soon).toBe((await inHand()) - 4)
    jobs.push(await database.enqueue('work'))
    const claimed = await inHand()
    release()
    expect(await first.closed).toBe(0)
    expect(await inHand()).toBe(claimed)
    expect(await database.outcomes()).toEqual({ c: 4, s: claimed - 4 })
    expect(await database.sql`select id from millrace.runtime`).toEqual([])

    const second = await database.maintain()
    await second.events.until({ type: 'closed', state: 'completed' }, jobs.length - 4)
    expect(await database.outcomes()).toEqual({ c: jobs.length, s: claimed - 4 })
    // Handed back before they were sent: no function saw a job twice.
    expect(fn.received.all).toHaveLength(jobs.length)
  })

  test('what is in flight for too long is handed back in sync mode, and left to its callback in callback mode', async () => {
    const database = await freshDatabase()
    const ingress = await startIngress(toSql(database.sql))
    const { fn, held } = await holdingFunction(2)
    await database.declare([
      { name: 'sync', target: { url: fn.url, mode: 'sync' } },
      { name: 'callback', target: { url: fn.url, mode: 'callback' } },
    ])
    const [sync, callback] = [await database.enqueue('sync'), await database.enqueue('callback')]
    const first = await maintainProcess(database.url, '--drain-timeout', '0', '--callback-url', ingress.url)
    await fn.received.until({}, 2)
    first.child.kill('SIGTERM')
    expect(await first.closed).toBe(0)
    expect(await database.job(sync)).toMatchObject({ state: 'available', attempt: 2, errors: [] })
    expect(await database.job(callback)).toMatchObject({ state: 'waiting_external', attempt: 1 })

    const accepted = held.find(({ body }) => body.kind === 'callback') as Received
    expect(await callBack(accepted, 'complete', { payload: 'done' })).toMatchObject({ status: 200 })
    const second = await database.maintain()
    await second.closed(sync, 'completed')
    expect(await database.outcomes()).toEqual({ c: 2, s: 1 })
  })

  test('an idle process ends at once', async () => {
    const database = await freshDatabase()
    const { child, closed } = await maintainProcess(database.url)
    child.kill('SIGTERM')
    expect(await closed).toBe(0)
    expect(await database.sql`select id from millrace.runtime`).toEqual([])
  })
})

test('a process that ends while the database is away ends all the same; what it leaves is found by rescue', async () => {
  const database = await freshDatabase()
  const proxy = await startProxy(database.url)
  const work = await database.maintain({ listen: true, databaseUrl: proxy.url })
  await work.events.until({ type: 'asleep' })
  proxy.refuse()
  await work.stop()
  expect(work.events.of({ type: 'error' })).not.toEqual([])
  expect(await database.sql`select id from millrace.runtime`).toHaveLength(1)
})

test('SIGKILL: another one rescues what was in hand, which costs those attempts, and nothing is lost', async () => {
  const database = await freshDatabase()
  const { fn } = await holdingFunction(5)
  await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync', concurrency: 5 } }])
  const jobs = await database.enqueueMany('work', 40)
  const first = await maintainProcess(database.url, '--in-hand', '20')
  await fn.received.until({}, 5)
  first.child.kill('SIGKILL')
  await first.closed
  const lost = await database.sql`
    update millrace.runtime set seen_at = now() - interval '1 hour', lost_at = now() - interval '1 second' where name like ${`%:${first.child.pid}`} returning id`
  expect(lost).toHaveLength(1)

  const second = await database.maintain()
  await second.events.until({ type: 'rescued' })
  await second.events.until({ type: 'closed', state: 'completed' }, jobs.length)
  const [claims] =
    await database.sql`select sum(cardinality(ids))::int as jobs from millrace.claim_log where runtime = ${lost[0]?.id}`
  expect(await database.outcomes()).toEqual({ c: jobs.length, r: claims?.jobs })
  const sent = fn.received.all.find(({ body }) => body.attempt === 2)
  expect(await database.job(String(sent?.body.job_id))).toMatchObject({
    state: 'completed',
    attempt: 2,
    errors: [{ attempt: 1, code: 'dispatcher_lost' }],
  })
  expect(await database.sql`select id from millrace.runtime where id = ${lost[0]?.id}`).toEqual([])
})

test('a rescued attempt was the last one: the job has failed', async () => {
  const database = await freshDatabase()
  const id = await database.enqueue('work', {}, { max_attempts: 1 })
  await database.engine.claim(await database.engine.runtimeStart('gone'), 1)
  await database.sql`update millrace.runtime set seen_at = now() - interval '1 hour', lost_at = now() - interval '1 second'`
  const work = await database.maintain()
  await work.events.until({ type: 'rescued', lost: 1 })
  expect(await database.job(id)).toMatchObject({ state: 'failed', errors: [{ code: 'dispatcher_lost' }] })
})
