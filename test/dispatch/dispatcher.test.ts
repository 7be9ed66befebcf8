// How the dispatcher shares out its hands: bounds per target, nobody starved, throttles, and declarations that change.

import { toSql } from 'millrace'
import { describe, expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { type Received, send, startFunctionServer } from '../support/function-server.ts'
import { startIngress } from '../support/ingress.ts'
import { freshDatabase, workOn } from '../support/maintenance.ts'

const shared = useDatabase()

/** A function that answers only when it is told to. */
async function heldFunction() {
  const held: Received[] = []
  let open = false
  const fn = await startFunctionServer(received => {
    if (open) return {}
    held.push(received)
    return undefined
  })
  const release = () => {
    open = true
    for (const { response } of held) send(response, {})
  }
  return { fn, release }
}

test('no more requests are in flight at one target than it was declared to take, over all kinds at that origin', async () => {
  const database = await freshDatabase()
  const gate = Promise.withResolvers<void>()
  const fn = await startFunctionServer(async () => {
    await gate.promise
    return {}
  })
  await database.declare([
    { name: 'a', target: { url: `${fn.url}/a`, mode: 'sync', concurrency: 5 } },
    { name: 'b', queue: 'other', target: { url: `${fn.url}/b`, mode: 'sync' } },
  ])
  await database.enqueueMany('a', 30)
  await database.enqueueMany('b', 30)
  const work = await database.maintain()
  await fn.received.until({}, 5)
  gate.resolve()
  await work.events.until({ type: 'closed', state: 'completed' }, 60)
  expect(fn.mostAtOnce).toBe(5)
})

test('a slow target does not hold up another queue', async () => {
  const database = await freshDatabase()
  const { fn: slow, release } = await heldFunction()
  const fast = await startFunctionServer()
  await database.declare([
    { name: 'slow', queue: 'slow', target: { url: slow.url, mode: 'sync', concurrency: 2 } },
    { name: 'fast', queue: 'fast', target: { url: fast.url, mode: 'sync' } },
  ])
  await database.enqueueMany('slow', 500)
  const work = await database.maintain({ inHand: 300 })
  await slow.received.until({}, 2)
  await database.enqueueMany('fast', 500)
  await work.events.until({ type: 'closed', kind: 'fast' }, 500)
  expect(work.events.of({ type: 'closed', kind: 'slow' })).toEqual([])
  expect(slow.received.all).toHaveLength(2)
  release()
  await work.events.until({ type: 'closed', kind: 'slow' }, 500)
})

test('nothing more is claimed while the hands are full', async () => {
  const database = await freshDatabase()
  const { fn, release } = await heldFunction()
  await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync' } }])
  await database.enqueueMany('work', 60)
  const work = await database.maintain({ inHand: 20 })
  await fn.received.until({}, 20)
  const [{ claimed } = { claimed: 0 }] =
    await database.sql`select sum(cardinality(ids))::int as claimed from millrace.claim_log`
  expect(claimed).toBe(20)
  release()
  await work.events.until({ type: 'closed' }, 60)
  expect(fn.mostAtOnce).toBeLessThanOrEqual(20)
})

test.each([1, 3, 20])('work gets done in batches of %i', async batch => {
  const database = workOn(shared)
  const fn = await startFunctionServer()
  const kind = `batches_${batch}`
  await database.declare([{ name: kind, target: { url: fn.url, mode: 'sync' } }], [], kind)
  await database.enqueueMany(kind, 2 * batch + 1)
  const work = await database.maintain({ batch })
  await work.events.until({ type: 'closed', kind, state: 'completed' }, 2 * batch + 1)
  for (const claim of work.events.of({ type: 'claimed' }))
    expect(claim).toMatchObject({ jobs: expect.toSatisfy(jobs => jobs <= batch) })
})

test('with few hands, too, a slow target does not hold up another queue', async () => {
  const database = await freshDatabase()
  const { fn: slow, release } = await heldFunction()
  const fast = await startFunctionServer()
  await database.declare([
    { name: 'slow', queue: 'slow', target: { url: slow.url, mode: 'sync', concurrency: 1 } },
    { name: 'fast', queue: 'fast', target: { url: fast.url, mode: 'sync' } },
  ])
  await database.enqueueMany('slow', 30)
  const work = await database.maintain({ inHand: 10 })
  await slow.received.first({})
  await database.enqueueMany('fast', 30)
  await work.events.until({ type: 'closed', kind: 'fast' }, 30)
  release()
  await work.events.until({ type: 'closed', kind: 'slow' }, 30)
})

test('a throttled target is left alone for as long as it asked, and recovers; no job is lost or costs an attempt', async () => {
  const database = await freshDatabase()
  let busy = true
  const fn = await startFunctionServer(() => (busy ? { status: 429, headers: { 'retry-after': '3' } } : {}))
  await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync', concurrency: 2 } }])
  await database.enqueueMany('work', 20)
  const work = await database.maintain()
  await work.events.until({ type: 'closed', state: 'available' }, 20)
  // Two were in flight when it said so; nobody else was sent.
  expect(fn.received.all.length).toBeLessThanOrEqual(2)
  const late = await database.enqueue('work')
  expect(await work.closed(late)).toMatchObject({ state: 'available', code: 'throttled' })
  busy = false
  await work.events.until({ type: 'closed', state: 'completed' }, 21)
  expect(await database.outcomes()).toMatchObject({ c: 21 })
  expect(await database.outcomes()).not.toHaveProperty('r')
})

describe('declarations', () => {
  test('a job whose kind is not declared is put back, and runs once the kind is', async () => {
    const database = workOn(shared)
    const fn = await startFunctionServer()
    const work = await database.maintain({ listen: true })
    const id = await database.enqueue('unheard_of', {}, { max_attempts: 1 })
    expect(await work.closed(id)).toMatchObject({ state: 'available', code: 'no_target' })
    expect((await database.job(id)).put_back).toMatchObject({ code: 'no_target' })
    await database.declare([{ name: 'unheard_of', target: { url: fn.url, mode: 'sync' } }], [], 'unheard')
    await database.passTime()
    await database.enqueue('unheard_of')
    await work.closed(id, 'completed')
    expect(await database.job(id)).toMatchObject({ state: 'completed', errors: [] })
  })

  test('a job in callback mode waits until there is a callback URL', async () => {
    const database = workOn(shared)
    const fn = await startFunctionServer(() => ({ status: 202 }))
    await database.declare([{ name: 'needs_url', target: { url: fn.url } }], [], 'needs_url')
    const without = await database.maintain()
    const id = await database.enqueue('needs_url', {}, { max_attempts: 1 })
    expect(await without.closed(id)).toMatchObject({ state: 'available', code: 'no_callback_url' })
    await without.stop()
    expect(fn.received.all).toEqual([])
    await database.passTime()
    const ingress = await startIngress(toSql(database.sql))
    const work = await database.maintain({ callbackUrl: ingress.url })
    await work.events.until({ type: 'parked', job: id })
  })

  test('a changed declaration holds as soon as its notification has arrived', async () => {
    const database = workOn(shared)
    const [before, after] = [await startFunctionServer(), await startFunctionServer()]
    await database.declare([{ name: 'moves', target: { url: before.url, mode: 'sync' } }], [], 'moves')
    const work = await database.maintain({ listen: true })
    await work.closed(await database.enqueue('moves'), 'completed')
    await database.declare([{ name: 'moves', target: { url: after.url, mode: 'sync' } }], [], 'moves')
    await work.events.first({ type: 'reloaded' })
    await work.closed(await database.enqueue('moves'), 'completed')
    expect([before.received.all.length, after.received.all.length]).toEqual([1, 1])
  })

  test('so does a changed limit', async () => {
    const database = workOn(shared)
    const { fn, release } = await heldFunction()
    const declare = (concurrency: number) =>
      database.declare([{ name: 'widens', target: { url: fn.url, mode: 'sync', concurrency } }], [], 'widens')
    await declare(1)
    const work = await database.maintain({ listen: true })
    await database.enqueueMany('widens', 5)
    await fn.received.first({})
    await declare(4)
    await fn.received.until({}, 4)
    release()
    await work.events.until({ type: 'closed', kind: 'widens' }, 5)
    expect(fn.mostAtOnce).toBe(4)
  })

  test('a row that is no target, from whoever wrote it, stops only its own jobs', async () => {
    const database = await freshDatabase()
    const fn = await startFunctionServer()
    await database.declare([{ name: 'good', target: { url: fn.url, mode: 'sync' } }])
    await database.sql`
      insert into millrace.kind (name, target, source) values ('bad', '{"url": "nowhere"}', 'by hand')`
    const work = await database.maintain()
    const [good, bad] = [await database.enqueue('good'), await database.enqueue('bad')]
    await work.closed(good, 'completed')
    expect(await work.closed(bad)).toMatchObject({ state: 'available', code: 'no_target' })
  })

  test("a target's own headers are sent, but cannot stand in for the dispatch's", async () => {
    const database = workOn(shared)
    const fn = await startFunctionServer()
    const headers = { Authorization: 'Bearer secret', 'Millrace-Signature': 'forged', 'Content-Type': 'text/plain' }
    await database.declare([{ name: 'headers', target: { url: fn.url, mode: 'sync', headers } }], [], 'headers')
    const work = await database.maintain()
    await work.closed(await database.enqueue('headers'), 'completed')
    const received = await fn.received.first({})
    expect(received.headers).toMatchObject({ authorization: 'Bearer secret', 'content-type': 'application/json' })
    expect(received.headers['millrace-signature']).toMatch(/^t=\d+,kid=k1,v1=[0-9a-f]{64}$/)
    expect(received.request.rawHeaders.filter(name => /^content-type$/i.test(name))).toHaveLength(1)
  })
})
