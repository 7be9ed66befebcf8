// Deferred jobs: they wait outside of the log and come into it when their time has come.

import { describe, expect, it } from 'vitest'
import { claimAll, enqueue, only, useEngine, view } from '../support/engine-database.ts'

const database = useEngine()
const ids = (jobs: readonly { id: string }[]) => jobs.map(({ id }) => id)
const makeDue = () => database.sql`update millrace.deferred set run_at = run_at - interval '1 hour'`

describe('a scheduled job', () => {
  it('is not available before its time', async () => {
    const [id] = await enqueue(database.sql, 1, { delay_seconds: 600 })
    expect(await claimAll(database)).toEqual([])
    const { promoted, nextInMs } = await database.engine.promote(10)
    expect(promoted).toBe(0)
    expect(nextInMs).toBeGreaterThan(590_000)
    expect(nextInMs).toBeLessThanOrEqual(600_000)
    expect(await view(database, id as string)).toMatchObject({ state: 'scheduled', attempt: 1 })
  })

  it('is available once promoted, as the job it was', async () => {
    const [id] = await enqueue(database.sql, 1, { delay_seconds: 600, queue: 'late', priority: 3, metadata: { a: 1 } })
    await makeDue()
    expect(await database.engine.promote(10)).toEqual({ promoted: 1, nextInMs: undefined })
    expect(await view(database, id as string)).toMatchObject({
      ...{ state: 'available', attempt: 1, queue: 'late', priority: 3, metadata: { a: 1 } },
    })
    expect(only(await claimAll(database))).toMatchObject({ id, attempt: 1, queue: 'late' })
  })

  it('with a time in the past is available at once', async () => {
    const [id] = await enqueue(database.sql, 1, { run_at: '2020-01-01T00:00:00Z' })
    expect(ids(await claimAll(database))).toEqual([id])
  })
})

describe('promotion', () => {
  it('goes by time, then by id, as many as it is told to', async () => {
    const last = await enqueue(database.sql, 2, { delay_seconds: 300 })
    const first = await enqueue(database.sql, 3, { delay_seconds: 100 })
    const future = await enqueue(database.sql, 1, { delay_seconds: 7200 })
    await makeDue()
    expect(await database.engine.promote(4)).toMatchObject({ promoted: 4 })
    expect(ids(await claimAll(database)).toSorted()).toEqual([...first, last[0]].toSorted())
    const { promoted, nextInMs } = await database.engine.promote(4)
    expect(promoted).toBe(1)
    expect(nextInMs).toBeGreaterThan(3_500_000)
    expect(ids(await claimAll(database))).toEqual(last.slice(1))
    expect(future).toHaveLength(1)
  })

  it('that stops at its limit says that more is due', async () => {
    await enqueue(database.sql, 3, { delay_seconds: 60 })
    await makeDue()
    const { nextInMs } = await database.engine.promote(2)
    expect(nextInMs).toBeLessThan(0)
  })

  it('by several at once moves each job once, and none waits for another', async () => {
    const enqueued = await enqueue(database.sql, 60, { delay_seconds: 60 })
    await makeDue()
    const other = await database.connect()
    await other`begin`
    await other`select millrace.promote(20)`
    const counts = await Promise.all([database.engine.promote(30), database.engine.promote(30)])
    expect(counts.reduce((sum, { promoted }) => sum + promoted, 0)).toBe(40)
    await other`commit`
    expect(ids(await claimAll(database)).toSorted()).toEqual(enqueued.toSorted())
  })

  it('that rolls back has moved nothing', async () => {
    const enqueued = await enqueue(database.sql, 2, { delay_seconds: 60 })
    await makeDue()
    const other = await database.connect()
    await other`begin`
    await other`select millrace.promote(20)`
    await other`rollback`
    expect(await claimAll(database)).toEqual([])
    expect(await database.engine.promote(10)).toMatchObject({ promoted: 2 })
    expect(ids(await claimAll(database))).toEqual(enqueued)
  })
})
