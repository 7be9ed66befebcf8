// Unique keys: who is told of whom, in which states a job holds its key, and when it lets go.

import { describe, expect, it } from 'vitest'
import {
  claimAgain,
  claimAll,
  close,
  completed,
  failed,
  fatal,
  only,
  ref,
  useEngine,
  view,
} from '../support/engine-database.ts'
import { enqueueJobs, enqueueKeyed } from '../support/unique.ts'

const database = useEngine()
const ALL = [
  ...['scheduled', 'available', 'running', 'completed'],
  ...['retryable', 'failed', 'cancelled', 'waiting_external'],
]
/** The states to which a job comes by itself from this one, while it is open. */
const LEADS_TO: Readonly<Record<string, readonly string[]>> = {
  scheduled: ['available', 'running', 'waiting_external'],
  retryable: ['available', 'running', 'waiting_external'],
  available: ['running', 'waiting_external'],
  running: ['waiting_external'],
}
const HOLDING = ['scheduled', 'available', 'running', 'completed', 'retryable', 'waiting_external']

/** Puts a new job with the key `k` into a state. */
const into: Record<string, (unique_states?: readonly string[]) => Promise<string>> = {
  scheduled: states => keyed(states, { delay_seconds: 60 }),
  available: states => keyed(states),
  async running(states) {
    const id = await keyed(states)
    await claimAll(database)
    return id
  },
  async waiting_external(states) {
    const id = await keyed(states)
    await database.engine.park((await claimAll(database)).map(ref), 60)
    return id
  },
  completed: states => closed(states, completed),
  retryable: states => closed(states, failed('broken', 60_000)),
  failed: states => closed(states, fatal),
  async cancelled(states) {
    const id = await keyed(states)
    await database.sql`select millrace.cancel(array[${id}::bigint])`
    return id
  },
}
const keyed = (unique_states?: readonly string[], more = {}) =>
  enqueueKeyed(database.sql, { ...(unique_states && { unique_states }), ...more })
async function closed(states: readonly string[] | undefined, outcome: typeof completed): Promise<string> {
  const id = await keyed(states)
  await close(database, only(await claimAll(database)), outcome)
  return id
}
const put = (state: string, states?: readonly string[]) => (into[state] as (typeof into)['available'])(states)

describe('a job in a state', () => {
  it.each(HOLDING)('holds its key by default: %s', async state => {
    const id = await put(state)
    expect((await view(database, id)).state).toBe(state)
    expect(await enqueueJobs(database.sql, { unique_key: 'k' })).toEqual([{ id, existing: true, replaced: false }])
  })

  it.each(['failed', 'cancelled'])('gives its key away by default: %s', async state => {
    const id = await put(state)
    const [next] = await enqueueJobs(database.sql, { unique_key: 'k' })
    expect(next).toMatchObject({ existing: false })
    expect(next?.id).not.toBe(id)
    expect(await enqueueKeyed(database.sql)).toBe(next?.id)
  })

  it.each(ALL)('holds its key for as long as asked: %s', async state => {
    const held = await put(state, [state])
    expect(await enqueueKeyed(database.sql)).toBe(held)
    await database.empty()
    const free = await put(
      state,
      ALL.filter(other => other !== state && !(LEADS_TO[state] ?? []).includes(other)),
    )
    expect(await enqueueKeyed(database.sql)).not.toBe(free)
  })

  it('comes to no state by itself in which it holds a key that another one has by then', async () => {
    const older = await put('retryable', ['available', 'running'])
    expect(await enqueueKeyed(database.sql)).toBe(older)
  })
})

describe('a conflict', () => {
  it('leaves the holder as it is, and nothing else is there', async () => {
    const id = await enqueueKeyed(database.sql, { args: { n: 1 } })
    await enqueueKeyed(database.sql, { args: { n: 2 }, priority: 1, delay_seconds: 9 })
    expect(await view(database, id)).toMatchObject({ args: { n: 1 }, priority: 2, state: 'available' })
    expect(await claimAll(database)).toHaveLength(1)
  })

  it('is an error when asked, which names the holder', async () => {
    const id = await enqueueKeyed(database.sql)
    const call = database.sql`select millrace.enqueue('sync', unique_key => 'k', on_conflict => 'error')`
    await expect(call).rejects.toMatchObject({
      ...{ code: '23505', constraint_name: 'unique_conflict', detail: `job ${id}` },
    })
  })

  it('is one of the key, whatever the kind, and of that key only', async () => {
    const id = await enqueueKeyed(database.sql, { kind: 'one' })
    expect(await enqueueKeyed(database.sql, { kind: 'other' })).toBe(id)
    expect(await enqueueKeyed(database.sql, { kind: 'one', unique_key: 'K' })).not.toBe(id)
    expect(only(await enqueueJobs(database.sql, { kind: 'one' })).id).not.toBe(id)
  })

  it('in one call is one job, and ids come in the order given', async () => {
    const [a, b, c, d, e] = await enqueueJobs(
      database.sql,
      { unique_key: 'z' },
      {},
      { unique_key: 'a' },
      { unique_key: 'z' },
      { unique_key: 'b' },
    )
    expect(d).toEqual({ id: a?.id, existing: true, replaced: false })
    const ids = [a, b, c, e].map(job => Number(job?.id))
    expect(ids).toEqual(ids.toSorted((x, y) => x - y))
    expect(await claimAll(database)).toHaveLength(4)
  })

  it('of one job of many refuses all when asked', async () => {
    const id = await enqueueKeyed(database.sql)
    const call = enqueueJobs(database.sql, { unique_key: 'a' }, { unique_key: 'k', on_conflict: 'error' })
    await expect(call).rejects.toMatchObject({ constraint_name: 'unique_conflict', detail: `job ${id}` })
    expect(await claimAll(database)).toHaveLength(1)
    expect(only(await enqueueJobs(database.sql, { unique_key: 'a' })).existing).toBe(false)
  })
})

describe('throttle', () => {
  it('holds a key for a time, whatever becomes of the job', async () => {
    const id = await enqueueKeyed(database.sql, { unique_for_seconds: 60 })
    await close(database, only(await claimAll(database)), fatal)
    expect(await enqueueKeyed(database.sql, { unique_for_seconds: 60 })).toBe(id)
  })

  it('lets go when the time is over, though the job may still wait', async () => {
    const id = await enqueueKeyed(database.sql, { unique_for_seconds: 60 })
    await database.sql`update millrace.unique_lock set until = now() - interval '1 second'`
    const next = await enqueueKeyed(database.sql, { unique_for_seconds: 60 })
    expect(next).not.toBe(id)
    expect(await enqueueKeyed(database.sql, { unique_for_seconds: 60 })).toBe(next)
    expect((await view(database, id)).state).toBe('available')
  })

  it('and states hold a key together when both are given', async () => {
    const id = await enqueueKeyed(database.sql, { unique_for_seconds: 60, unique_states: ['available'] })
    await database.sql`update millrace.unique_lock set until = now() - interval '1 second'`
    expect(await enqueueKeyed(database.sql)).toBe(id)
  })
})

describe('a key', () => {
  it('stays with the job through its retries', async () => {
    const id = await enqueueKeyed(database.sql)
    await close(database, only(await claimAll(database)), failed())
    const again = only(await claimAgain(database))
    expect(again).toMatchObject({ id, attempt: 2 })
    expect(await enqueueKeyed(database.sql)).toBe(id)
    expect(await database.sql`select unique_key from millrace.job_log where attempt = 2`).toMatchObject([
      { unique_key: 'k' },
    ])
  })

  it('that a newer job took while its own could not hold it ends the older one: it is not run again', async () => {
    const older = await enqueueKeyed(database.sql, { unique_states: ['scheduled', 'available', 'retryable'] })
    const attempt = only(await claimAll(database))
    const newer = await enqueueKeyed(database.sql)
    expect(newer).not.toBe(older)
    await close(database, attempt, failed())
    expect((await view(database, older)).state).toBe('cancelled')
    expect(only(await claimAgain(database)).id).toBe(newer)
  })
})

describe('cancel_by_key', () => {
  const cancel = async (key: string) => [
    ...(await database.sql`select id, state, cancelled from millrace.cancel_by_key(${key}, 'no longer wanted')`),
  ]

  it.each(['scheduled', 'available', 'running', 'waiting_external', 'retryable'])('cancels a %s job', async state => {
    const id = await put(state)
    expect(await cancel('k')).toEqual([{ id, state: 'cancelled', cancelled: true }])
    expect(await view(database, id)).toMatchObject({ state: 'cancelled' })
    expect(await enqueueKeyed(database.sql)).not.toBe(id)
  })

  it('leaves an end as it is, and knows nothing of other keys', async () => {
    const id = await put('completed')
    expect(await cancel('k')).toEqual([{ id, state: 'completed', cancelled: false }])
    expect(await cancel('other')).toEqual([])
  })
})

describe('limits', () => {
  it.each([
    [{ unique_key: '' }, 'invalid_unique'],
    [{ unique_key: 'x'.repeat(201) }, 'invalid_unique'],
    [{ unique_key: 'k', unique_states: ['asleep'] }, 'invalid_unique'],
    [{ unique_key: 'k', unique_states: [null as never] }, 'invalid_unique'],
    [{ unique_key: 'k', unique_for_seconds: -1 }, 'invalid_unique'],
    [{ unique_key: 'k', unique_for_seconds: 1e300 }, 'invalid_unique'],
    [{ unique_key: 'k', on_conflict: 'ignore' }, 'invalid_unique'],
    [{ ordering_key: '' }, 'invalid_ordering_key'],
    [{ ordering_key: 'x'.repeat(201) }, 'invalid_ordering_key'],
    [{ rate_key: '' }, 'invalid_rate_key'],
    [{ rate_key: 'x'.repeat(201) }, 'invalid_rate_key'],
  ])('%j is %s', async (job, code) => {
    await expect(enqueueJobs(database.sql, job)).rejects.toMatchObject({ code: '23514', constraint_name: code })
  })

  it('what is said of a key needs the key', async () => {
    await expect(database.sql`select millrace.enqueue('sync', on_conflict => 'error')`).rejects.toMatchObject({
      constraint_name: 'invalid_unique',
    })
  })

  it('keys may have 200 characters', async () => {
    const unique_key = '🛶'.repeat(200)
    expect(await enqueueKeyed(database.sql, { unique_key })).toBe(await enqueueKeyed(database.sql, { unique_key }))
  })
})
