// Ordering keys, shards and rate keys: which lane a job goes to, and in which order lanes give it out.

import { describe, expect, it } from 'vitest'
import { claimAgain, claimAll, close, failed, putBack, useEngine, view } from './support/engine-database.ts'
import { enqueueJobs } from './support/unique.ts'

const database = useEngine()
const queue = (row: { shards?: number; key_rate?: number }) =>
  database.sql`insert into millrace.queue ${database.sql({ name: 'orders', ...row })}`
const orders = (count: number, ordering_key?: string) =>
  enqueueJobs(
    database.sql,
    ...Array.from({ length: count }, (_, n) => ({
      queue: 'orders',
      args: { n },
      ...(ordering_key && { ordering_key }),
    })),
  )
const shards = async () =>
  (await database.sql`select distinct shard from millrace.lane order by shard`).map(r => r.shard)
const idsOf = (jobs: readonly { id: string }[]) => jobs.map(({ id }) => id)

describe('a queue with shards', () => {
  it('keeps the jobs of a key in one lane, first in, first out', async () => {
    await queue({ shards: 8 })
    const expected = []
    for (let n = 0; n < 20; n++) expected.push(...idsOf(await orders(1, 'customer-42')))
    expect(await shards()).toHaveLength(1)
    const claimed = []
    for (let batch = await claimAll(database, 3); batch.length > 0; batch = await claimAll(database, 3)) {
      claimed.push(...idsOf(batch))
    }
    expect(claimed).toEqual(expected)
  })

  it('keeps the order within each of many keys, whatever lane is served first', async () => {
    await queue({ shards: 8 })
    const keys = Array.from({ length: 30 }, (_, n) => `customer-${n}`)
    const expected = new Map(keys.map(key => [key, [] as string[]]))
    for (let round = 0; round < 3; round++) {
      const told = await enqueueJobs(database.sql, ...keys.map(ordering_key => ({ queue: 'orders', ordering_key })))
      for (const [n, { id }] of told.entries()) expected.get(keys[n] as string)?.push(id)
    }
    expect(await shards()).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    const claimed = idsOf(await claimAll(database))
    expect(claimed).toHaveLength(90)
    for (const ids of expected.values()) expect(claimed.filter(id => ids.includes(id))).toEqual(ids)
  })

  it('spreads jobs without a key by transaction, and leaves those of one transaction together', async () => {
    await queue({ shards: 4 })
    await orders(50)
    expect(await shards()).toHaveLength(1)
    for (let n = 0; n < 40; n++) await orders(1)
    expect(await shards()).toEqual([0, 1, 2, 3])
    expect(await claimAll(database)).toHaveLength(90)
  })

  it('keeps the lane of a job through schedules and retries', async () => {
    await queue({ shards: 64 })
    await enqueueJobs(database.sql, { queue: 'orders', ordering_key: 'b', delay_seconds: 60 })
    const [job] = await claimAgain(database)
    await close(database, job as never, failed())
    await claimAgain(database)
    expect(await database.sql`select distinct lane from millrace.job_log`).toHaveLength(1)
    expect(await shards()).toHaveLength(1)
  })
})

it('a queue without shards has one lane for all keys', async () => {
  const told = [...(await orders(3, 'a')), ...(await orders(3, 'b')), ...(await orders(3))]
  expect(await shards()).toEqual([0])
  expect(idsOf(await claimAll(database))).toEqual(idsOf(told))
})

describe('a rate key', () => {
  const paced = (delay_seconds?: number) =>
    enqueueJobs(database.sql, { queue: 'orders', rate_key: 'tenant 1', ...(delay_seconds && { delay_seconds }) })

  it('has a job wait for its promotion when the queue has a rate per key', async () => {
    await queue({ key_rate: 5 })
    const [job] = await paced()
    expect(await view(database, job?.id as string)).toMatchObject({ state: 'scheduled' })
    expect(await claimAll(database)).toEqual([])
    expect(await claimAgain(database)).toHaveLength(1)
  })

  it('leaves a later time alone, and jobs without the key', async () => {
    await queue({ key_rate: 5 })
    const [job] = await paced(600)
    const { run_at } = await view(database, job?.id as string)
    expect(Date.parse(run_at) - Date.now()).toBeGreaterThan(590_000)
    await orders(1)
    expect(await claimAll(database)).toHaveLength(1)
  })

  it('is kept, but nothing else, when the queue has no such rate; also when the job is put back', async () => {
    await paced()
    const [job] = await claimAll(database)
    await close(database, job as never, putBack(60_000))
    expect(await database.sql`select rate_key from millrace.deferred`).toMatchObject([{ rate_key: 'tenant 1' }])
  })
})
