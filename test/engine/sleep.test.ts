// Waking sleepers: no notification while nobody sleeps, and never a job that nobody was told of.

import type postgres from 'postgres'
import { describe, expect, it, vi } from 'vitest'
import { close, enqueue, released, running, useEngine } from '../support/engine-database.ts'

const database = useEngine()

/** Listens, and tells how many notifications came before the call: what is heard is in the order of the commits. */
async function listener() {
  const client = await database.connect()
  const heard: string[] = []
  await client.listen('millrace_wake', payload => heard.push(payload))
  let marks = 0
  return async () => {
    const mark = `mark ${++marks}`
    await database.sql`select pg_notify('millrace_wake', ${mark})`
    await vi.waitFor(() => expect(heard).toContain(mark), { timeout: 5_000, interval: 5 })
    return heard.splice(0).filter(payload => payload !== mark).length
  }
}

async function asleep(): Promise<{ runtime: string; horizon: string }> {
  const runtime = await database.engine.runtimeStart('sleeper')
  await database.engine.runtimeSleep(runtime, true)
  return { runtime, horizon: await database.engine.sleepHorizon() }
}

/** Quiet after all; other databases' transactions hold it up as well, but they all end. */
const becomesQuiet = (horizon: string) =>
  vi.waitFor(async () => expect(await database.engine.quiet(horizon)).toBe(true), { timeout: 10_000, interval: 10 })

async function open(level = ''): Promise<postgres.Sql> {
  const client = await database.connect()
  await client.unsafe(`begin ${level}`)
  return client
}

describe('a notification', () => {
  it('is not sent while nobody sleeps', async () => {
    const notified = await listener()
    await database.engine.runtimeStart('awake')
    await close(database, await running(database), released)
    await enqueue(database.sql, 3)
    await enqueue(database.sql, 1, { delay_seconds: 60 })
    expect(await notified()).toBe(0)
  })

  it('is sent when somebody sleeps and work comes, and not any more when he woke', async () => {
    const notified = await listener()
    const job = await running(database)
    const { runtime } = await asleep()
    await enqueue(database.sql)
    expect(await notified()).toBe(1)
    await enqueue(database.sql, 1, { delay_seconds: 60 })
    expect(await notified()).toBe(1)
    await close(database, job, released)
    expect(await notified()).toBe(1)
    await database.sql`update millrace.deferred set run_at = now()`
    await database.engine.promote(1)
    expect(await notified()).toBe(1)
    await database.engine.runtimeSleep(runtime, false)
    await enqueue(database.sql)
    expect(await notified()).toBe(0)
  })

  it('comes with the commit, and not at all after a rollback', async () => {
    const notified = await listener()
    await asleep()
    const caller = await open()
    await enqueue(caller, 2)
    expect(await notified()).toBe(0)
    await caller`commit`
    expect(await notified()).toBe(1)
    await caller`begin`
    await enqueue(caller)
    await caller`rollback`
    expect(await notified()).toBe(0)
  })

  it.each(['repeatable read', 'serializable'])('is always sent at isolation level %s', async level => {
    const notified = await listener()
    const caller = await open(`isolation level ${level}`)
    await enqueue(caller)
    await caller`commit`
    expect(await notified()).toBe(1)
  })
})

describe('quiet', () => {
  it('is only when every transaction has ended that may have missed the flag', async () => {
    const notified = await listener()
    const caller = await open()
    await enqueue(caller)
    const { horizon } = await asleep()
    expect(await database.engine.quiet(horizon)).toBe(false)
    await caller`commit`
    expect(await notified()).toBe(0)
    await becomesQuiet(horizon)
  })

  it('does not wait for a transaction that enqueued nothing before the flag: it will see it', async () => {
    const notified = await listener()
    const caller = await open()
    await caller`select 1`
    const { horizon } = await asleep()
    await becomesQuiet(horizon)
    await enqueue(caller)
    await caller`commit`
    expect(await notified()).toBe(1)
  })
})

describe('a runtime', () => {
  it('lives while it beats and until it stops', async () => {
    const runtime = await database.engine.runtimeStart('one')
    await database.sql`update millrace.runtime set seen_at = now() - interval '1 hour', lost_at = now() - interval '1 second'`
    expect(await database.engine.runtimeBeat(runtime)).toBe(15_000)
    const [row] = await database.sql`select from millrace.runtime where seen_at > now() - interval '1 minute'`
    expect(row).toBeDefined()
    await database.engine.runtimeStop(runtime)
    expect(await database.engine.runtimeBeat(runtime)).toBeUndefined()
  })
})
