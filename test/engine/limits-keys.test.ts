// The pace of a queue's rate keys: jobs with one wait in line for it when they are due.

import { describe, expect, it } from 'vitest'
import { type Client, claimAll, close, enqueue, failed, only, useEngine, view } from '../support/engine-database.ts'
import { setQueue, waitForKeys } from '../support/queues.ts'

const database = useEngine()
const mails = { queue: 'mails' }

async function keyed(count: number, rateKey: string, options: object = {}, sql: Client = database.sql) {
  return enqueue(sql, count, { ...mails, rate_key: rateKey, ...options } as object)
}

/** Promotes until nothing more is promoted; answers the ids of what can be claimed then, and when to go on. */
async function promoteAll(max = 1000) {
  let nextInMs: number | undefined
  for (let more = true; more; ) {
    const done = await database.engine.promote(max)
    nextInMs = done.nextInMs
    more = done.promoted > 0 || (nextInMs !== undefined && nextInMs < 0)
  }
  const ids = (await claimAll(database)).map(({ id }) => id)
  return { ids, nextInMs: nextInMs ?? Number.NaN }
}

describe('a job with a rate key', () => {
  it('goes at once when its key is free, up to the burst', async () => {
    await setQueue(database.sql, 'mails', { key_rate: 0.1, key_burst: 2 })
    const ids = await keyed(5, 'a')
    expect(await claimAll(database)).toEqual([])
    const first = await promoteAll()
    expect(first.ids).toEqual(ids.slice(0, 2))
    expect(first.nextInMs).toBeGreaterThan(9_000)
    expect(first.nextInMs).toBeLessThanOrEqual(10_000)
    expect((await promoteAll()).ids).toEqual([])
    expect(await view(database, ids[4] as string)).toMatchObject({ state: 'scheduled', attempt: 1 })
  })

  it('follows the one before it at the rate', async () => {
    await setQueue(database.sql, 'mails', { key_rate: 0.1 })
    const ids = await keyed(6, 'a')
    expect((await promoteAll()).ids).toEqual(ids.slice(0, 1))
    await waitForKeys(database, 10)
    expect((await promoteAll()).ids).toEqual(ids.slice(1, 2))
    await waitForKeys(database, 9)
    expect((await promoteAll()).ids).toEqual([])
    await waitForKeys(database, 1)
    expect((await promoteAll()).ids).toEqual(ids.slice(2, 3))
    // Time that nobody used is not saved up beyond the burst.
    await waitForKeys(database, 1_000)
    expect((await promoteAll()).ids).toEqual(ids.slice(3, 4))
  })

  it('waits for its own key only', async () => {
    await setQueue(database.sql, 'mails', { key_rate: 0.1 })
    const hot = await keyed(50, 'hot')
    const cold = await keyed(1, 'cold')
    const none = await enqueue(database.sql, 1, mails)
    const elsewhere = await keyed(3, 'hot', { queue: 'others' })
    const { ids } = await promoteAll(10)
    expect(ids.toSorted()).toEqual([hot[0], ...cold, ...none, ...elsewhere].toSorted())
  })

  it('waits at its scheduled time, in the order of times', async () => {
    await setQueue(database.sql, 'mails', { key_rate: 0.1 })
    const [late] = await keyed(1, 'a', { delay_seconds: 7000 })
    const [early] = await keyed(1, 'a', { delay_seconds: 3600 })
    expect((await promoteAll()).ids).toEqual([])
    await database.sql`update millrace.deferred set run_at = run_at - interval '2 hours'`
    expect((await promoteAll()).ids).toEqual([early])
    await waitForKeys(database, 10)
    expect((await promoteAll()).ids).toEqual([late])
  })

  it('pays for every attempt', async () => {
    await setQueue(database.sql, 'mails', { key_rate: 0.1, key_burst: 2 })
    const [id] = await keyed(1, 'a')
    await database.engine.promote(10)
    const job = only(await claimAll(database))
    await keyed(2, 'a')
    await close(database, job, failed('broken', 0))
    const { ids } = await promoteAll()
    expect(ids).toHaveLength(1)
    await waitForKeys(database, 20)
    expect([...ids, ...(await promoteAll()).ids]).toContain(id)
    expect(await view(database, id as string)).toMatchObject({ attempt: 2, state: 'running' })
  })

  it('that an operator retries pays too', async () => {
    await setQueue(database.sql, 'mails', { key_rate: 0.1 })
    const [id] = await keyed(1, 'a', { max_attempts: 1 })
    await database.engine.promote(10)
    await close(database, only(await claimAll(database)), failed())
    await database.sql`select millrace.retry(array[${id as string}::bigint])`
    expect((await promoteAll()).ids).toEqual([])
    await waitForKeys(database, 10)
    expect((await promoteAll()).ids).toEqual([id])
  })

  it('leaves the line when it is cancelled, and the next one moves up', async () => {
    await setQueue(database.sql, 'mails', { key_rate: 0.1 })
    const ids = await keyed(4, 'a')
    await promoteAll()
    await database.sql`select millrace.cancel(array[${ids[1] as string}, ${ids[2] as string}]::bigint[])`
    await waitForKeys(database, 10)
    expect((await promoteAll()).ids).toEqual([ids[3]])
    expect((await promoteAll()).nextInMs).toBeNaN()
  })

  it('leaves the line when it is moved to another queue', async () => {
    await setQueue(database.sql, 'mails', { key_rate: 0.1 })
    const ids = await keyed(3, 'a')
    await promoteAll()
    await database.sql`select millrace.move(array[${ids[1] as string}::bigint], 'others')`
    expect((await promoteAll()).ids).toEqual([ids[1]])
    await waitForKeys(database, 10)
    expect((await promoteAll()).ids).toEqual([ids[2]])
  })

  it('follows a change of the rate at once, for those in line too', async () => {
    await setQueue(database.sql, 'mails', { key_rate: 0.001 })
    const ids = await keyed(9, 'a')
    expect((await promoteAll()).ids).toEqual(ids.slice(0, 1))
    await setQueue(database.sql, 'mails', { key_rate: 0.001, key_burst: 3 })
    expect((await promoteAll()).ids).toEqual(ids.slice(1, 3))
    await setQueue(database.sql, 'mails', { key_rate: null, key_burst: null })
    expect((await promoteAll()).ids).toEqual(ids.slice(3))
  })

  it('leaves nothing behind once its key has been free for a while', async () => {
    await setQueue(database.sql, 'mails', { key_rate: 1 })
    await keyed(1, 'a')
    await keyed(1, 'b')
    await promoteAll()
    expect(await database.sql`select from millrace.rate_bucket`).toHaveLength(2)
    await waitForKeys(database, 3600)
    await database.engine.promote(10)
    expect(await database.sql`select from millrace.rate_bucket`).toHaveLength(0)
  })
})

describe('promoters at once', () => {
  it('promote each job once, keep the rate of every key, and their order', async () => {
    await setQueue(database.sql, 'mails', { key_rate: 0.01, key_burst: 3 })
    const keys = ['a', 'b', 'c', 'd']
    const enqueued = new Map<string, string[]>()
    for (let round = 0; round < 10; round++)
      for (const key of keys) enqueued.set(key, [...(enqueued.get(key) ?? []), ...(await keyed(2, key))])
    const connections = await database.connections(4)
    const claimed: string[] = []
    for (let round = 0; round < 4; round++) {
      await Promise.all(
        connections.map(async sql => {
          for (let n = 0; n < 8; n++) await sql`select millrace.promote(7)`
        }),
      )
      const { ids } = await promoteAll()
      claimed.push(...ids)
      expect(ids).toHaveLength(keys.length * (round === 0 ? 3 : 1))
      await waitForKeys(database, 100)
    }
    expect(new Set(claimed).size).toBe(claimed.length)
    for (const key of keys) {
      const own = enqueued.get(key) as string[]
      expect(claimed.filter(id => own.includes(id))).toEqual(own.slice(0, 6))
    }
  })

  it('find work that was lined up by one that is not done yet', async () => {
    await setQueue(database.sql, 'mails', { key_rate: 0.1 })
    const ids = await keyed(2, 'a')
    const other = await database.connect()
    await other`begin`
    await other`select millrace.promote(10)`
    const { promoted, nextInMs } = await database.engine.promote(10)
    expect(promoted).toBe(0)
    expect(nextInMs).toBeGreaterThan(0)
    await other`rollback`
    expect((await promoteAll()).ids).toEqual(ids.slice(0, 1))
  })

  it('do not spin on a job that somebody else has', async () => {
    await enqueue(database.sql, 1, { delay_seconds: 60 })
    await database.sql`update millrace.deferred set run_at = now() - interval '1 minute'`
    const caller = await database.connect()
    await caller`begin`
    await caller`select from millrace.deferred for update`
    const { promoted, nextInMs } = await database.engine.promote(10)
    expect(promoted).toBe(0)
    expect(nextInMs).toBeGreaterThan(50)
    await caller`rollback`
  })
})
