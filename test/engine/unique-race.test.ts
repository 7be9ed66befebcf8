// Unique keys on many connections at once: one job per key, whoever waits, rolls back or takes over.

import type postgres from 'postgres'
import { describe, expect, it } from 'vitest'
import { claimAll, close, completed, fatal, only, useEngine, view } from '../support/engine-database.ts'
import { enqueueJobs, enqueueKeyed, pidOf, waiting } from '../support/unique.ts'

const database = useEngine()
const distinct = (ids: readonly string[]) => [...new Set(ids)]

/** A session in which a transaction has begun, and its process id. */
async function transaction(isolation = 'read committed'): Promise<{ client: postgres.Sql; pid: number }> {
  const client = await database.connect()
  const pid = await pidOf(client)
  await client.unsafe(`begin isolation level ${isolation}`)
  return { client, pid }
}

describe('many enqueues of one key at once', () => {
  it('make one job', async () => {
    const clients = await database.connections(12)
    const told = await Promise.all(
      clients.flatMap(client => [1, 2, 3, 4].map(() => enqueueJobs(client, { unique_key: 'k' }))),
    )
    expect(distinct(told.map(([job]) => job?.id ?? ''))).toHaveLength(1)
    expect(told.filter(([job]) => job?.existing === false)).toHaveLength(1)
    expect(await claimAll(database)).toHaveLength(1)
  })

  it('take a key over once when its holder has ended', async () => {
    const ended = await enqueueKeyed(database.sql)
    await close(database, only(await claimAll(database)), fatal)
    const clients = await database.connections(12)
    const ids = await Promise.all(clients.map(client => enqueueKeyed(client)))
    expect(distinct(ids)).toHaveLength(1)
    expect(ids).not.toContain(ended)
    expect(only(await claimAll(database)).id).toBe(ids[0])
  })

  it('with many keys in any order neither wait for one another in a circle nor double a job', async () => {
    const clients = await database.connections(8)
    const keys = Array.from({ length: 40 }, (_, n) => `key ${n}`)
    const batches = clients.flatMap((client, nth) =>
      [0, 1, 2].map(async turn => {
        const shuffled = keys.toSorted((a, b) => (a < b ? -1 : 1) * ((nth + turn) % 2 ? 1 : -1))
        const told = await enqueueJobs(client, ...shuffled.map(unique_key => ({ unique_key, args: unique_key })))
        return told.map(({ id }, n) => `${shuffled[n]} ${id}`)
      }),
    )
    expect(distinct((await Promise.all(batches)).flat())).toHaveLength(keys.length)
    expect(new Set((await claimAll(database)).map(({ args }) => args)).size).toBe(keys.length)
  })
})

describe('a transaction that has a key', () => {
  it('makes others wait; once it commits they are told its job', async () => {
    const first = await transaction()
    const id = await enqueueKeyed(first.client)
    const second = await database.connect()
    const pid = await pidOf(second)
    const told = enqueueKeyed(second)
    await waiting(database, pid)
    await first.client`commit`
    expect(await told).toBe(id)
  })

  it('that rolls back gives it to who waits', async () => {
    const first = await transaction()
    const id = await enqueueKeyed(first.client)
    const second = await database.connect()
    const pid = await pidOf(second)
    const told = enqueueKeyed(second)
    await waiting(database, pid)
    await first.client`rollback`
    expect(await told).not.toBe(id)
    expect(only(await claimAll(database)).id).toBe(await told)
  })

  it('that rolls back to a savepoint does so too, and one that took it over gives it back', async () => {
    const ended = await enqueueKeyed(database.sql, { unique_states: ['available'] })
    await claimAll(database)
    const { client } = await transaction()
    await client`savepoint before`
    await enqueueKeyed(client)
    await client`rollback to savepoint before`
    await client`commit`
    expect(await database.sql`select job from millrace.unique_lock`).toMatchObject([{ job: ended }])
    expect(only(await enqueueJobs(database.sql, { unique_key: 'k' })).existing).toBe(false)
  })

  it('knows its own job before it commits', async () => {
    const { client } = await transaction()
    const id = await enqueueKeyed(client)
    expect(await enqueueKeyed(client)).toBe(id)
    await client`commit`
    expect(await claimAll(database)).toHaveLength(1)
  })

  it.each(['repeatable read', 'serializable'])('fails to serialize rather than doubles a job: %s', async isolation => {
    const { client } = await transaction(isolation)
    await client`select count(*) from millrace.job_log`
    const id = await enqueueKeyed(database.sql)
    await expect(enqueueKeyed(client)).rejects.toMatchObject({ code: '40001' })
    await client`rollback`
    expect(only(await claimAll(database)).id).toBe(id)
  })

  it('in repeatable read is told of what was there before', async () => {
    const id = await enqueueKeyed(database.sql)
    const { client } = await transaction('repeatable read')
    expect(await enqueueKeyed(client)).toBe(id)
    await client`commit`
  })
})

describe('the holder', () => {
  it('that ends while another waits for the key is no longer in its way', async () => {
    const states = { unique_states: ['available', 'running'] }
    const older = await enqueueKeyed(database.sql, states)
    const attempt = only(await claimAll(database))
    const first = await transaction()
    await first.client`select from millrace.unique_lock where key = 'k' for update`
    const second = await database.connect()
    const pid = await pidOf(second)
    const told = enqueueKeyed(second, states)
    await waiting(database, pid)
    await close(database, attempt, completed)
    await first.client`commit`
    expect(await told).not.toBe(older)
  })

  it('that is being cancelled by its key makes others wait, and they get a job that lives', async () => {
    const older = await enqueueKeyed(database.sql)
    const first = await transaction()
    await first.client`select * from millrace.cancel_by_key('k')`
    const second = await database.connect()
    const pid = await pidOf(second)
    const told = enqueueKeyed(second)
    await waiting(database, pid)
    await first.client`commit`
    expect(await told).not.toBe(older)
    expect((await view(database, await told)).state).toBe('available')
  })
})

it('jobs without a key wait for nobody', async () => {
  const { client } = await transaction()
  await enqueueKeyed(client)
  await database.sql.begin(async tx => {
    await tx`set local lock_timeout = '1ms'`
    await enqueueJobs(tx, {}, { unique_key: 'another' })
  })
  await client`commit`
  expect(await claimAll(database)).toHaveLength(3)
})
