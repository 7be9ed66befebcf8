// Limits of queues as dispatchers live with them: nobody polls, and nobody sleeps while work may go.

import { expect, test } from 'vitest'
import { startFunctionServer } from '../support/function-server.ts'
import { freshDatabase } from '../support/maintenance.ts'
import { setQueue } from '../support/queues.ts'

/** No pulse helps. */
const ON_ITS_OWN = { listen: true, pulseMs: 60_000, asleepPulseMs: 60_000 } as const

async function withFunction() {
  const database = await freshDatabase()
  const fn = await startFunctionServer()
  await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync' } }])
  return { database, fn }
}

test('a dispatcher that sleeps wakes when the rate of a queue allows the next job', async () => {
  const { database } = await withFunction()
  await setQueue(database.sql, 'default', { rate: 0.7, burst: 1 })
  const work = await database.maintain(ON_ITS_OWN)
  await work.events.until({ type: 'asleep' })
  await database.enqueueMany('work', 3)
  await work.events.until({ type: 'closed', state: 'completed' }, 3)
  const at = await database.sql<{ gap: number }[]>`
    select extract(epoch from at - lag(at) over (order by n))::float8 as gap from millrace.limit_log order by n offset 1`
  expect(at).toHaveLength(2)
  for (const { gap } of at) expect(gap).toBeGreaterThan(1.4)
})

test('two dispatchers keep to a limit on open attempts, and neither sleeps while it has room', async () => {
  const { database, fn } = await withFunction()
  await setQueue(database.sql, 'default', { max_running: 2 })
  const both = [await database.maintain(ON_ITS_OWN), await database.maintain(ON_ITS_OWN)]
  for (const { events } of both) await events.until({ type: 'asleep' })
  await database.enqueueMany('work', 40)
  const completed = () => both.flatMap(({ events }) => events.of({ type: 'closed', state: 'completed' })).length
  await fn.received.until({}, 40)
  await expect.poll(completed).toBe(40)
  expect(fn.mostAtOnce).toBeLessThanOrEqual(2)
})

test('a callback gives a place to a dispatcher that sleeps', async () => {
  const { database, fn } = await withFunction()
  await database.declare([{ name: 'long', target: { url: fn.url, mode: 'callback' } }], [], 'other')
  await setQueue(database.sql, 'default', { max_running: 1 })
  const work = await database.maintain({ ...ON_ITS_OWN, callbackUrl: 'http://127.0.0.1:1' })
  const first = await database.enqueue('long')
  const second = await database.enqueue('work')
  await work.events.until({ type: 'parked', job: first })
  await work.events.until({ type: 'asleep' })
  await database.engine.close([{ segment: '0', id: first, attempt: 1, outcome: { kind: 'completed' } }])
  await work.events.until({ type: 'closed', job: second, state: 'completed' })
})

test('a paced key goes on at its rate', async () => {
  const { database } = await withFunction()
  await setQueue(database.sql, 'default', { key_rate: 2, key_burst: 1 })
  const work = await database.maintain(ON_ITS_OWN)
  await work.events.until({ type: 'asleep' })
  for (let n = 0; n < 3; n++) await database.enqueue('work', {}, { rate_key: 'a' })
  await work.events.until({ type: 'closed', state: 'completed' }, 3)
  const took = await database.sql<{ seconds: number }[]>`
    select extract(epoch from max(c.at) - min(j.enqueued_at))::float8 as seconds from millrace.claim_log c, millrace.job_log j`
  expect(took[0]?.seconds).toBeGreaterThanOrEqual(1)
})
