// Limits of a queue over all dispatchers: attempts open at once, and attempts per second.

import { describe, expect, it } from 'vitest'
import type { ClaimedJob } from '../../core/engine-rows.ts'
import { arrayLiteral } from '../../core/sql.ts'
import {
  claim,
  claimAgain,
  claimAll,
  close,
  completed,
  enqueue,
  failed,
  only,
  ref,
  released,
  useEngine,
} from '../support/engine-database.ts'
import { openIn, prune, setQueue, wait } from '../support/queues.ts'

const database = useEngine()
const mails = { queue: 'mails' }
const count = async (max = 1000) => (await claimAll(database, max)).length
const closeAll = (jobs: readonly ClaimedJob[], outcome = completed) =>
  database.engine.close(jobs.map(job => ({ ...ref(job), outcome })))
const cancel = (ids: readonly string[]) => database.sql`select millrace.cancel(${arrayLiteral(ids)}::text::bigint[])`
const open = () => openIn(database.sql, 'mails')
const limitedUntilMs = () => database.engine.limitedMs()

describe('a limit on open attempts', () => {
  it('is filled, and no more', async () => {
    await setQueue(database.sql, 'mails', { max_running: 3 })
    await enqueue(database.sql, 10, mails)
    const jobs = await claimAll(database)
    expect(jobs).toHaveLength(3)
    expect(await count()).toBe(0)
    await closeAll(jobs.slice(0, 2))
    expect(await count()).toBe(2)
    expect(await open()).toBe(3)
  })

  it('is one for all lanes of the queue, and no other queue minds it', async () => {
    await setQueue(database.sql, 'mails', { max_running: 5, shards: 4 })
    for (const priority of [1, 2, 3, 4]) await enqueue(database.sql, 10, { ...mails, priority })
    await enqueue(database.sql, 20, { queue: 'others' })
    expect(await count()).toBe(25)
    expect(await open()).toBe(5)
  })

  it('counts what a function has accepted, until it has called back', async () => {
    await setQueue(database.sql, 'mails', { max_running: 2 })
    await enqueue(database.sql, 3, mails)
    const jobs = await claimAll(database)
    await database.engine.park(jobs.map(ref), 60)
    expect(await count()).toBe(0)
    await closeAll(jobs)
    expect(await count()).toBe(1)
  })

  it('gives a place back with every kind of end', async () => {
    await setQueue(database.sql, 'mails', { max_running: 1 })
    await enqueue(database.sql, 5, { ...mails, max_attempts: 9 })
    await close(database, only(await claimAll(database)), failed('broken', 1e6))
    await close(database, only(await claimAll(database)), { ...failed(), retryable: false } as typeof completed)
    await close(database, only(await claimAll(database)), released)
    const { id } = only(await claimAll(database))
    await cancel([id])
    await claimAll(database)
    await database.sql`update millrace.runtime set lost_at = now() - interval '1 s'`
    await database.sql`select millrace.rescue(100)`
    expect(await open()).toBe(0)
    expect(await claimAll(database)).toHaveLength(1)
  })

  it('counts the attempts of a retried job one after the other', async () => {
    await setQueue(database.sql, 'mails', { max_running: 1 })
    await enqueue(database.sql, 2, mails)
    const first = only(await claimAll(database))
    await close(database, first, failed('broken', 0))
    const again = only(await claimAgain(database))
    expect(await count()).toBe(0)
    await close(database, again, completed)
    expect(await count()).toBe(1)
  })

  it('keeps a place while the transaction that closes is open, and gives it back if that rolls back', async () => {
    await setQueue(database.sql, 'mails', { max_running: 1 })
    await enqueue(database.sql, 2, mails)
    const job = only(await claimAll(database))
    const caller = await database.connect()
    await caller`begin`
    await caller`select millrace.close(array[${job.segment}::bigint], array[${job.id}::bigint], '{1}', '{completed}')`
    expect(await count()).toBe(0)
    await caller`rollback`
    expect(await count()).toBe(0)
    await close(database, job, completed)
    expect(await count()).toBe(1)
  })

  it('gives back the places of a claim that rolls back', async () => {
    await setQueue(database.sql, 'mails', { max_running: 2 })
    await enqueue(database.sql, 4, mails)
    const runtime = await database.engine.runtimeStart('test')
    const caller = await database.connect()
    await caller`begin`
    expect(await claim(caller, runtime, 10)).toHaveLength(2)
    expect(await count()).toBe(0)
    await caller`rollback`
    expect(await count()).toBe(2)
  })

  it('does not count jobs that were cancelled before they were claimed', async () => {
    await setQueue(database.sql, 'mails', { max_running: 2 })
    const ids = await enqueue(database.sql, 10, mails)
    await cancel(ids.slice(0, 7))
    // A claim that meets some of them may take fewer than it could; the next one follows at once.
    expect((await count()) + (await count())).toBe(2)
    expect(await open()).toBe(2)
  })

  it('is filled beyond a batch of cancelled jobs, with those that came later', async () => {
    await setQueue(database.sql, 'mails', { max_running: 3 })
    const ids = await enqueue(database.sql, 10, mails)
    await closeAll(await claimAll(database))
    await cancel(ids.slice(3))
    const later = await enqueue(database.sql, 2, mails)
    expect((await claimAll(database)).map(({ id }) => id)).toEqual(later)
  })

  it('can be raised and lowered at any time', async () => {
    await setQueue(database.sql, 'mails', { max_running: 4 })
    await enqueue(database.sql, 20, mails)
    const jobs = await claimAll(database)
    await setQueue(database.sql, 'mails', { max_running: 2 })
    await closeAll(jobs.slice(0, 2))
    expect(await count()).toBe(0)
    await closeAll(jobs.slice(2, 3))
    expect(await count()).toBe(1)
    await setQueue(database.sql, 'mails', { max_running: 6 })
    expect(await count()).toBe(4)
    await setQueue(database.sql, 'mails', { max_running: null })
    expect(await count()).toBe(11)
  })

  it('that is set later counts what is open already, and so does one that was lifted for a while', async () => {
    await enqueue(database.sql, 20, mails)
    const jobs = await claimAll(database, 5)
    await setQueue(database.sql, 'mails', { max_running: 6 })
    expect(await count()).toBe(1)
    await setQueue(database.sql, 'mails', { max_running: null })
    expect(await count(4)).toBe(4)
    await closeAll(jobs.slice(0, 3))
    await setQueue(database.sql, 'mails', { max_running: 8 })
    expect(await open()).toBe(7)
    expect(await count()).toBe(1)
    expect(await count()).toBe(0)
  })

  it('binds a claimer that has not heard of it', async () => {
    await enqueue(database.sql, 10, mails)
    await enqueue(database.sql, 1, { queue: 'first', priority: 1 })
    const runtime = await database.engine.runtimeStart('test')
    const unaware = await database.connect()
    const holder = await database.connect()
    await holder`begin`
    await holder`lock table millrace.claim_log in share mode`
    // Has its list of lanes, and waits with the job of the first one.
    const claiming = claim(unaware, runtime, 1000)
    const waiting = () => database.sql`
      select from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())`
    await expect.poll(waiting).toHaveLength(1)
    await setQueue(database.sql, 'mails', { max_running: 2 })
    await holder`commit`
    expect(await claiming).toHaveLength(1)
    expect(await count()).toBe(2)
    expect(await open()).toBe(2)
  })

  it('survives the pruning of the segment in which attempts are open', async () => {
    await setQueue(database.sql, 'mails', { max_running: 3 })
    await enqueue(database.sql, 8, mails)
    const jobs = await claimAll(database)
    await closeAll(jobs.slice(0, 1))
    const more = await claimAll(database)
    expect(more).toHaveLength(1)
    await prune(database)
    expect(await open()).toBe(3)
    expect(await count()).toBe(0)
    await closeAll([...jobs.slice(1), ...more])
    expect(await count()).toBe(3)
  })

  it('that is set when attempts were carried counts those too', async () => {
    await enqueue(database.sql, 4, mails)
    const jobs = await claimAll(database, 2)
    await prune(database)
    await setQueue(database.sql, 'mails', { max_running: 3 })
    expect(await count()).toBe(1)
    await closeAll(jobs)
    expect(await count()).toBe(1)
  })
})

describe('a rate', () => {
  it('lets a burst go, and then as many as the time since allows', async () => {
    await setQueue(database.sql, 'mails', { rate: 0.5, burst: 4 })
    await enqueue(database.sql, 30, mails)
    expect(await count()).toBe(4)
    expect(await count()).toBe(0)
    await wait(database, 4)
    expect(await count()).toBe(2)
    await wait(database, 1)
    expect(await count()).toBe(0)
    await wait(database, 1)
    expect(await count()).toBe(1)
    await wait(database, 3600)
    expect(await count()).toBe(4)
  })

  it('has a burst of one second unless given, and of one at least', async () => {
    await setQueue(database.sql, 'mails', { rate: 2.5 })
    await setQueue(database.sql, 'slow', { rate: 0.01 })
    await enqueue(database.sql, 10, mails)
    await enqueue(database.sql, 10, { queue: 'slow' })
    expect((await claimAll(database)).map(job => job.queue).toSorted()).toEqual(['mails', 'mails', 'mails', 'slow'])
  })

  it('counts retries, over all lanes', async () => {
    await setQueue(database.sql, 'mails', { rate: 0.01, burst: 3, shards: 3 })
    for (const priority of [1, 2, 3]) await enqueue(database.sql, 2, { ...mails, priority })
    const jobs = await claimAll(database, 2)
    expect(jobs).toHaveLength(2)
    await closeAll(jobs, failed('broken', 0))
    expect(await claimAgain(database)).toHaveLength(1)
    expect(await count()).toBe(0)
  })

  it('holds together with a limit on open attempts', async () => {
    await setQueue(database.sql, 'mails', { rate: 0.01, burst: 5, max_running: 2 })
    await enqueue(database.sql, 10, mails)
    for (const claimable of [2, 2, 1, 0]) {
      const jobs = await claimAll(database)
      expect(jobs).toHaveLength(claimable)
      await closeAll(jobs)
    }
  })

  it('can be changed and lifted', async () => {
    await setQueue(database.sql, 'mails', { rate: 0.01 })
    await enqueue(database.sql, 30, mails)
    expect(await count()).toBe(1)
    await setQueue(database.sql, 'mails', { rate: 1, burst: 10 })
    await wait(database, 3)
    expect(await count()).toBe(3)
    await setQueue(database.sql, 'mails', { rate: null, burst: null })
    expect(await count(5)).toBe(5)
    await setQueue(database.sql, 'mails', { rate: 0.01 })
    expect(await count()).toBeLessThanOrEqual(1)
  })

  it('tells when the next job may go', async () => {
    await setQueue(database.sql, 'mails', { rate: 0.1 })
    expect(await limitedUntilMs()).toBeUndefined()
    await enqueue(database.sql, 2, mails)
    expect(await count()).toBe(1)
    expect(await limitedUntilMs()).toBeGreaterThan(9_000)
    expect(await limitedUntilMs()).toBeLessThanOrEqual(10_000)
    await wait(database, 60)
    expect(await limitedUntilMs()).toBeLessThanOrEqual(0)
    expect(await count()).toBe(1)
    expect(await limitedUntilMs()).toBeUndefined()
  })

  it('tells nothing of queues that wait for something else', async () => {
    await setQueue(database.sql, 'mails', { rate: 0.1, burst: 2, max_running: 1 })
    await setQueue(database.sql, 'paused', { rate: 0.1 })
    await enqueue(database.sql, 2, mails)
    await enqueue(database.sql, 2, { queue: 'paused' })
    expect(await count()).toBe(2)
    await database.sql`select millrace.pause_queue('paused', 'test')`
    expect(await limitedUntilMs()).toBeUndefined()
  })
})
