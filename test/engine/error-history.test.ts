// The error history of a job: an entry for each attempt that failed, whoever found that out, and none for those that did not.

import { expect, it } from 'vitest'
import {
  claimAgain,
  claimAll,
  close,
  completed,
  enqueue,
  failed,
  fatal,
  only,
  putBack,
  ref,
  released,
  running,
  useEngine,
  view,
} from '../support/engine-database.ts'

const database = useEngine()
const history = async (id: string) => (await view(database, id)).errors.map(({ attempt, code }) => [attempt, code])
const again = async () => only(await claimAgain(database))

it('has an entry for every way to fail, in order', async () => {
  await database.sql`insert into millrace.kind (name, time_limit_seconds, source) values ('resize', 60, 'test')`
  const first = await running(database)
  await close(database, first, failed())

  await database.engine.park([await again()], -1) // silent
  await database.engine.rescue(10)

  await database.engine.park([await again()], 60) // too slow
  await database.sql`update millrace.park_log set at = at - interval '61 s', deadline = deadline - interval '61 s'`
  await database.engine.rescue(10)

  await again() // its dispatcher dies
  await database.sql`update millrace.runtime set lost_at = now() - interval '1 second'`
  await database.engine.rescue(10)

  const throttled = await again() // put back for too long
  await database.sql`update millrace.setting set value = 0 where name = 'put_back_limit_seconds'`
  await close(database, throttled, putBack())
  await database.sql`update millrace.setting set value = 86400 where name = 'put_back_limit_seconds'`

  await close(database, await again(), fatal)
  expect(await history(first.id)).toEqual([
    [1, 'reported'],
    [2, 'callback_timeout'],
    [3, 'deadline_exceeded'],
    [4, 'dispatcher_lost'],
    [5, 'http_429'],
    [6, 'reported'],
  ])
})

it('has none for attempts that were put back, snoozed or handed back', async () => {
  const job = await running(database)
  await close(database, job, failed())
  for (const outcome of [putBack(), { kind: 'snoozed', delayMs: 0 } as const, released]) {
    await close(database, await again(), outcome)
  }
  await close(database, await again(), completed)
  expect(await history(job.id)).toEqual([[1, 'reported']])
})

it('tells when each attempt failed, and says why a job was cancelled', async () => {
  const job = await running(database)
  await close(database, job, failed('out of paper'))
  await again()
  await database.sql`select * from millrace.cancel(array[${job.id}]::bigint[], 'no longer wanted')`
  const { errors, finished_at } = await view(database, job.id)
  expect(errors).toEqual([
    { attempt: 1, at: expect.any(String), code: 'reported', message: 'out of paper' },
    { attempt: 2, at: finished_at, code: 'cancelled', message: 'no longer wanted' },
  ])
})

it('goes on after an operator has retried the dead letter', async () => {
  const job = await running(database)
  await close(database, job, fatal)
  await database.sql`select * from millrace.retry(array[${job.id}]::bigint[])`
  await close(database, await again(), fatal)
  expect(await history(job.id)).toEqual([
    [1, 'reported'],
    [2, 'reported'],
  ])
})

it('holds the last 50, the failure that ended the job included', async () => {
  const job = await running(database)
  await database.sql`
    update millrace.job_log set errors = (select jsonb_agg(jsonb_build_object('attempt', -n)) from generate_series(1, 50) n)`
  await close(database, ref(job), fatal)
  const errors = await history(job.id)
  expect(errors).toHaveLength(50)
  expect(errors.at(-1)).toEqual([1, 'reported'])
})

it('tells when an attempt failed, also after an operator has retried the job', async () => {
  const job = await running(database)
  await close(database, job, fatal)
  const { errors } = await view(database, job.id)
  await database.sql`select millrace.retry(array[${job.id}::bigint])`
  expect((await view(database, job.id)).errors).toEqual(errors.map(error => ({ ...error, retried: true })))
})

it("an operator's retry makes the waits between attempts begin anew", async () => {
  const [id] = (await enqueue(database.sql, 1, { max_attempts: 6 })) as [string]
  const failOnce = async () => {
    await database.sql`update millrace.deferred set run_at = now()`
    await database.engine.promote(10)
    for (const job of await claimAll(database)) await close(database, job, failed())
  }
  for (let n = 0; n < 6; n++) await failOnce()
  await database.sql`select millrace.retry(array[${id}::bigint])`
  await failOnce()
  const job = await view(database, id)
  expect(job).toMatchObject({ state: 'retryable', attempt: 8 })
  expect(job.errors.map(({ retried }) => retried ?? false)).toEqual([false, false, false, false, false, true, false])
  expect(Date.parse(job.run_at) - Date.now()).toBeLessThan(2_500 + 1_000)
})
