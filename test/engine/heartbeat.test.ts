// Signs of life: an attempt's lease is extended, and its progress kept, merged, shown and handed on.

import { describe, expect, it } from 'vitest'
import type { AttemptRef } from '../../core/engine.ts'
import type { Progress } from '../../core/wire.ts'
import {
  claimAgain,
  close,
  completed,
  failed,
  only,
  ref,
  released,
  running,
  useEngine,
  view,
} from '../support/engine-database.ts'

const database = useEngine()
const beat = async (of: AttemptRef, progress?: Progress, timeoutSeconds = 60) =>
  only(await database.engine.heartbeat([{ ...ref(of), timeoutSeconds, progress }])).state
const rescue = () => database.engine.rescue(100)

describe('a heartbeat', () => {
  it('extends the lease of a parked attempt beyond its deadline', async () => {
    const job = await running(database)
    await database.engine.park([job], -1)
    expect(await beat(job)).toBe('waiting_external')
    expect(await rescue()).toEqual({ parked: 0, lost: 0, stuck: 0 })
  })

  it('shortens it too: silence after it is over brings the rescue', async () => {
    const job = await running(database)
    await database.engine.park([job], 3600)
    await beat(job)
    await beat(job, undefined, -1)
    expect(await rescue()).toEqual({ parked: 1, lost: 0, stuck: 0 })
    expect(await view(database, job.id)).toMatchObject({ state: 'retryable', errors: [{ code: 'callback_timeout' }] })
  })

  it('of a closed attempt is told how it ended, and leaves nothing', async () => {
    const [done, retried, handedBack] = [await running(database), await running(database), await running(database)]
    const cancelled = await running(database)
    await close(database, done, completed)
    await close(database, retried, failed())
    await close(database, handedBack, released)
    await database.sql`insert into millrace.outcome_log (id, attempt, slot, state) values (${cancelled.id}, 1, 0, 'x')`
    expect(await beat(done)).toBe('completed')
    expect(await beat(retried)).toBe('retryable')
    expect(await beat(handedBack)).toBe('available')
    expect(await beat(cancelled)).toBe('cancelled')
    expect(await database.sql`select from millrace.attempt_state`).toHaveLength(0)
  })

  it('of an attempt that does not exist is told so', async () => {
    const job = await running(database)
    expect(await beat({ ...job, attempt: 2 })).toBe('unknown')
    expect(await beat({ ...job, id: '987654321' })).toBe('unknown')
    expect(await beat({ ...job, segment: '8' })).toBe('unknown')
  })

  it('may come with many others, in any order, each with its own answer', async () => {
    const [one, two] = [await running(database), await running(database)]
    await close(database, one, completed)
    const items = [two, { ...two, attempt: 9 }, one, two].map(job => ({ ...ref(job), timeoutSeconds: 60 }))
    const states = (await database.engine.heartbeat(items)).map(({ state }) => state)
    expect(states).toEqual(['waiting_external', 'unknown', 'completed', 'waiting_external'])
  })
})

describe('progress', () => {
  it('is shown, percent and message replaced, metadata merged key by key', async () => {
    const job = await running(database)
    await beat(job, { percent: 10, message: 'begun', metadata: { page: 1, file: 'a' } })
    await beat(job, { percent: 20, metadata: { page: 2 } })
    await beat(job)
    expect((await view(database, job.id)).progress).toEqual({
      percent: 20,
      message: 'begun',
      metadata: { page: 2, file: 'a' },
    })
  })

  it('keeps the nulls of a checkpoint, at any depth', async () => {
    const job = await running(database)
    await beat(job, { metadata: { cursor: 7, part: { end: null } } })
    await beat(job, { metadata: { cursor: null } })
    expect((await view(database, job.id)).progress).toEqual({ metadata: { cursor: null, part: { end: null } } })
  })

  it('is handed to the next attempt, and goes on from there', async () => {
    const job = await running(database)
    await beat(job, { percent: 40, metadata: { page: 4, file: 'a' } })
    await close(database, job, failed())
    const expected = { percent: 40, metadata: { page: 4, file: 'a' } }
    expect((await view(database, job.id)).progress).toEqual(expected)
    const second = only(await claimAgain(database))
    expect(JSON.parse(second.progress ?? '')).toEqual(expected)

    await beat(second, { metadata: { page: 5 } })
    expect((await view(database, job.id)).progress).toEqual({ percent: 40, metadata: { page: 5, file: 'a' } })
    await close(database, second, released)
    const third = only(await claimAgain(database))
    expect(JSON.parse(third.progress ?? '')).toEqual({ percent: 40, metadata: { page: 5, file: 'a' } })
  })

  it('is handed on by a rescue', async () => {
    const job = await running(database)
    await beat(job, { percent: 70 }, -1)
    await rescue()
    expect(JSON.parse(only(await claimAgain(database)).progress ?? '')).toEqual({ percent: 70 })
  })
})
