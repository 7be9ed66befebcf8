// Time limits of kinds: however often an attempt sends heartbeats, it ends when its time is over.

import { beforeEach, describe, expect, it } from 'vitest'
import { claimAgain, only, ref, running, useEngine, view } from '../support/engine-database.ts'

const database = useEngine()
const rescue = () => database.engine.rescue(100)
const LIMIT = 100

beforeEach(async () => {
  await database.sql`insert into millrace.kind (name, time_limit_seconds, source) values ('limited', ${LIMIT}, 'test')`
})

/** An attempt of the limited kind that its function accepted so many seconds ago. */
async function accepted(agoSeconds = 0, timeoutSeconds = LIMIT) {
  const job = await running(database, {}, 'limited')
  await database.engine.park([job], timeoutSeconds)
  await database.sql`
    update millrace.park_log set at = at - make_interval(secs => ${agoSeconds}), deadline = deadline - make_interval(secs => ${agoSeconds})`
  return job
}

const beat = async (job: Parameters<typeof ref>[0], timeoutSeconds: number) =>
  only(await database.engine.heartbeat([{ ...ref(job), timeoutSeconds }]))

describe('a heartbeat', () => {
  it('is granted what it asks for while that is within the limit', async () => {
    expect(await beat(await accepted(50), 40)).toEqual({ state: 'waiting_external' })
  })

  it('is granted no more than what is left', async () => {
    const job = await accepted(70)
    for (let n = 0; n < 3; n++) {
      const { timeoutSeconds } = await beat(job, 3600)
      expect(timeoutSeconds).toBeGreaterThan(25)
      expect(timeoutSeconds).toBeLessThanOrEqual(30)
    }
  })

  it('that comes when the time is over does not put the end off', async () => {
    const job = await accepted(LIMIT + 5, 2 * LIMIT)
    expect(await beat(job, 3600)).toEqual({ state: 'waiting_external', timeoutSeconds: 0 })
    expect(await rescue()).toEqual({ parked: 1, lost: 0, stuck: 0 })
    expect(await view(database, job.id)).toMatchObject({ state: 'retryable', errors: [{ code: 'deadline_exceeded' }] })
  })

  it('of an attempt whose acceptance was lost counts from the first one', async () => {
    const job = await running(database, {}, 'limited')
    const first = await beat(job, 3600)
    expect(first.timeoutSeconds).toBeCloseTo(LIMIT, 0)
    await database.sql`update millrace.attempt_state set limit_at = limit_at - interval '90 seconds'`
    const second = await beat(job, 3600)
    expect(second.timeoutSeconds).toBeCloseTo(LIMIT - 90, 0)
  })

  it('of another kind has no limit', async () => {
    const job = await running(database)
    expect(await beat(job, 30 * 86_400)).toEqual({ state: 'waiting_external' })
  })

  it('of the next attempt has the whole time again', async () => {
    await accepted(LIMIT + 5)
    await rescue()
    const again = only(await claimAgain(database))
    await database.engine.park([again], LIMIT)
    expect((await beat(again, 3600)).timeoutSeconds).toBeCloseTo(LIMIT, 0)
  })
})

describe('rescue', () => {
  it('calls it by its name when the limit is what ended a silent attempt', async () => {
    const job = await accepted(LIMIT + 5)
    await rescue()
    expect(await view(database, job.id)).toMatchObject({
      state: 'retryable',
      errors: [{ attempt: 1, code: 'deadline_exceeded' }],
    })
  })

  it('but not when the callback was due earlier', async () => {
    const job = await accepted(50, 40)
    await rescue()
    expect(await view(database, job.id)).toMatchObject({ errors: [{ code: 'callback_timeout' }] })
  })

  it('nor when heartbeats stopped before the limit', async () => {
    const job = await accepted(50)
    await beat(job, 10)
    await database.sql`update millrace.attempt_state set deadline = now()`
    await rescue()
    expect(await view(database, job.id)).toMatchObject({ errors: [{ code: 'callback_timeout' }] })
  })

  it('respects max_attempts', async () => {
    const job = await running(database, { max_attempts: 1 }, 'limited')
    await database.engine.park([job], LIMIT)
    await database.sql`update millrace.park_log set at = at - interval '200 s', deadline = deadline - interval '200 s'`
    await rescue()
    expect(await view(database, job.id)).toMatchObject({ state: 'failed', errors: [{ code: 'deadline_exceeded' }] })
  })
})
