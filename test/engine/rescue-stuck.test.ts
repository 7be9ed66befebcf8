// Rescue goes on: one attempt that cannot be closed stops neither its batch nor later ones, and nothing to do costs nothing.

import { afterEach, describe, expect, it } from 'vitest'
import { claimAll, enqueue, only, ref, running, useEngine, view } from '../support/engine-database.ts'

const database = useEngine()
const rescue = (max = 100) => database.engine.rescue(max)

/** Parks attempts whose callbacks were due an hour ago: `count` good ones, and one whose retry a constraint forbids. */
async function overdueWithOneBad(count: number): Promise<{ good: readonly string[]; bad: string }> {
  await database.sql`alter table millrace.deferred add constraint no_bad_kind check (kind <> 'bad')`
  const half = count >> 1
  const before = await enqueue(database.sql, half)
  const bad = only(await enqueue(database.sql, 1, {}, 'bad'))
  const after = await enqueue(database.sql, count - half)
  await database.engine.park(await claimAll(database), -3600)
  return { good: [...before, ...after], bad }
}

afterEach(() => database.sql`alter table millrace.deferred drop constraint if exists no_bad_kind`)

describe('an attempt that cannot be closed', () => {
  it('does not stop the others', async () => {
    const { good, bad } = await overdueWithOneBad(40)
    expect(await rescue()).toEqual({ parked: 40, lost: 0, stuck: 1 })
    for (const id of good) expect(await view(database, id)).toMatchObject({ state: 'retryable', attempt: 2 })
    expect(await view(database, bad)).toMatchObject({ state: 'waiting_external', attempt: 1 })
  })

  it('is out of the way of later sweeps for a minute, and closed once that is possible', async () => {
    const { bad } = await overdueWithOneBad(1)
    // Which one comes first is the planner's choice.
    const both = [await rescue(1), await rescue(1)]
    expect(both).toContainEqual({ parked: 0, lost: 0, stuck: 1 })
    expect(both).toContainEqual({ parked: 1, lost: 0, stuck: 0 })
    expect(await rescue(1)).toEqual({ parked: 0, lost: 0, stuck: 0 })
    await database.sql`update millrace.attempt_state set deadline = now()`
    expect(await rescue(1)).toEqual({ parked: 0, lost: 0, stuck: 1 })
    await database.sql`alter table millrace.deferred drop constraint no_bad_kind`
    await database.sql`update millrace.attempt_state set deadline = now()`
    expect(await rescue(1)).toEqual({ parked: 1, lost: 0, stuck: 0 })
    expect(await view(database, bad)).toMatchObject({ state: 'retryable', errors: [{ code: 'callback_timeout' }] })
  })

  it('of a dispatcher that died does not keep its row, nor its other attempts', async () => {
    const { good } = await overdueWithOneBad(4)
    await database.sql`truncate millrace.park_log`
    await database.sql`update millrace.runtime set lost_at = now() - interval '1 second'`
    expect(await rescue()).toEqual({ parked: 0, lost: good.length, stuck: 1 })
    expect(await database.sql`select from millrace.runtime`).toHaveLength(0)
  })

  it('because its dead letter cannot be written does not stop those that can', async () => {
    await database.sql`alter table millrace.dead_letter add constraint no_bad_kind check (kind <> 'bad')`
    const [good, bad] = [
      await running(database, { max_attempts: 1 }),
      await running(database, { max_attempts: 1 }, 'bad'),
    ]
    await database.engine.park([good, bad], -3600)
    const rescued = await rescue().finally(
      () => database.sql`alter table millrace.dead_letter drop constraint no_bad_kind`,
    )
    expect(rescued).toEqual({ parked: 1, lost: 0, stuck: 1 })
    expect(await view(database, good.id)).toMatchObject({ state: 'failed', errors: [{ code: 'callback_timeout' }] })
  })

  it('because somebody else is about to close it does not stop the others', async () => {
    const [held, free] = [await running(database), await running(database)]
    await database.engine.park([held, free], -3600)
    const other = await database.connect()
    await other`begin`
    await other`select * from millrace.cancel(array[${held.id}]::bigint[], 'a long transaction')`
    expect(await rescue()).toEqual({ parked: 1, lost: 0, stuck: 1 })
    expect(await view(database, free.id)).toMatchObject({ state: 'retryable' })
    await other`commit`
    expect(await view(database, held.id)).toMatchObject({ state: 'cancelled' })
    await database.sql`update millrace.attempt_state set deadline = now()`
    expect(await rescue()).toEqual({ parked: 0, lost: 0, stuck: 0 })
    expect(await database.sql`select from millrace.attempt_state`).toHaveLength(0)
  })
})

it('an attempt with progress that an open transaction has cancelled stops nobody either', async () => {
  const [held, free] = [await running(database), await running(database)]
  await database.engine.heartbeat([held, free].map(job => ({ ...ref(job), timeoutSeconds: -1 })))
  const other = await database.connect()
  await other`begin`
  await other`select * from millrace.cancel(array[${held.id}]::bigint[], 'a long transaction')`
  expect(await rescue()).toEqual({ parked: 1, lost: 0, stuck: 1 })
  await other`commit`
  expect(await rescue()).toEqual({ parked: 0, lost: 0, stuck: 0 })
  expect(await view(database, held.id)).toMatchObject({ state: 'cancelled' })
  expect(await view(database, free.id)).toMatchObject({ state: 'retryable' })
})

describe('with nothing to do', () => {
  /** The transaction id that a rescue has taken; null for none. */
  const written = async () => {
    const client = await database.connect()
    await client`begin`
    await client`select * from millrace.rescue(100)`
    const rows = await client<{ xid: string | null }[]>`select pg_current_xact_id_if_assigned()::text as xid`
    await client`commit`
    return only(rows).xid
  }

  it('rescue writes nothing', async () => {
    await running(database)
    expect(await written()).toBeNull()
  })

  it('nor does it while attempts are parked, beating and closed', async () => {
    const [parked, beating] = [await running(database), await running(database)]
    await database.engine.park([parked, beating], 60)
    await database.engine.heartbeat([{ ...ref(beating), timeoutSeconds: 60 }])
    expect(await written()).toBeNull()
  })

  it('but it does when there is something', async () => {
    await database.engine.park([await running(database)], -3600)
    expect(await written()).not.toBeNull()
  })
})
