// Snoozing: a job comes again later as often as its function likes, and nothing has failed.

import { describe, expect, it } from 'vitest'
import type { Outcome } from '../../core/engine.ts'
import {
  claimAgain,
  close,
  completed,
  delay,
  failed,
  only,
  putBack,
  ref,
  running,
  useEngine,
  view,
} from '../support/engine-database.ts'

const database = useEngine()
const snoozed = (delayMs = 60_000): Outcome => ({ kind: 'snoozed', delayMs })

describe('a snooze', () => {
  it('schedules the job again and costs no attempt', async () => {
    const job = await running(database, { max_attempts: 1 })
    expect(await close(database, job, snoozed())).toEqual({ state: 'available', fresh: true })
    const waiting = await view(database, job.id)
    expect(waiting).toMatchObject({ state: 'scheduled', attempt: 2, max_attempts: 2, errors: [], put_back: null })
    expect(await delay(database)).toBeCloseTo(60, 0)
  })

  it('has no limit', async () => {
    await database.sql`update millrace.setting set value = 0 where name = 'put_back_limit_seconds'`
    let job = await running(database, { max_attempts: 1 })
    for (let n = 0; n < 100; n++) {
      await close(database, job, snoozed(0))
      job = only(await claimAgain(database))
    }
    expect(job).toMatchObject({ attempt: 101, max_attempts: 101 })
    expect(await view(database, job.id)).toMatchObject({ errors: [], put_back: null })
    await database.sql`update millrace.setting set value = 86400 where name = 'put_back_limit_seconds'`
  })

  it('keeps progress and the errors of earlier attempts', async () => {
    const first = await running(database)
    await close(database, first, failed('disk full'))
    const second = only(await claimAgain(database))
    await database.engine.heartbeat([{ ...ref(second), timeoutSeconds: 60, progress: { metadata: { page: 3 } } }])
    await close(database, second, snoozed())
    expect(await view(database, first.id)).toMatchObject({
      progress: { metadata: { page: 3 } },
      errors: [{ attempt: 1, message: 'disk full' }],
    })
    expect(only(await claimAgain(database)).progress).toBe('{"metadata": {"page": 3}}')
  })

  it('ends a row of put-backs: the function was there', async () => {
    const job = await running(database)
    await close(database, job, putBack())
    await close(database, only(await claimAgain(database)), snoozed())
    expect(await view(database, job.id)).toMatchObject({ put_back: null })
  })

  it('is fenced like any other end', async () => {
    const [job, other] = [await running(database), await running(database)]
    await close(database, job, completed)
    expect(await close(database, job, snoozed())).toMatchObject({ state: 'completed', fresh: false })
    await close(database, other, snoozed())
    expect(await close(database, other, snoozed())).toEqual({ state: 'available', fresh: false })
    expect(await claimAgain(database)).toHaveLength(1)
  })

  it('that comes too late for an attempt that does not exist is unknown', async () => {
    const job = await running(database)
    expect(await close(database, { ...job, attempt: 7 }, snoozed())).toEqual({ state: 'unknown', fresh: false })
  })
})

describe('a result that is too large', () => {
  const limited = async (bytes: number, work: () => Promise<void>) => {
    await database.sql`update millrace.setting set value = ${bytes} where name = 'result_limit_bytes'`
    await work().finally(
      () => database.sql`update millrace.setting set value = 1048576 where name = 'result_limit_bytes'`,
    )
  }
  const withResult = (result: string): Outcome => ({ kind: 'completed', result })

  it('is not kept; the job is completed, and says why there is none', () =>
    limited(10, async () => {
      const job = await running(database)
      expect(await close(database, job, withResult('123456789'))).toEqual({
        state: 'completed',
        fresh: true,
        resultTooLarge: true,
      })
      expect(await view(database, job.id)).toMatchObject({
        state: 'completed',
        result: null,
        errors: [{ attempt: 1, code: 'result_too_large' }],
      })
    }))

  it('is one that is larger than the limit, among others that are not', () =>
    limited(10, async () => {
      const jobs = [await running(database), await running(database), await running(database)]
      const results = ['12345678', '123456789', '1234']
      const closed = await database.engine.close(
        jobs.map((job, n) => ({ ...ref(job), outcome: withResult(results[n] ?? '') })),
      )
      expect(closed.map(({ resultTooLarge }) => resultTooLarge ?? false)).toEqual([false, true, false])
      const kept = await Promise.all(jobs.map(async ({ id }) => (await view(database, id)).result))
      expect(kept).toEqual(['12345678', null, '1234'])
    }))

  it('may also be reported as such by whoever could not send it', async () => {
    const job = await running(database)
    const error = { code: 'result_too_large', message: 'over a mebibyte' }
    await close(database, job, { kind: 'completed', error })
    expect(await view(database, job.id)).toMatchObject({ state: 'completed', result: null, errors: [error] })
  })
})
