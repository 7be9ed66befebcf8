// One job with how each of its attempts went.

import { expect, it } from 'vitest'
import { useAdmin } from '../support/admin.ts'
import {
  claimAgain,
  close,
  completed,
  enqueue,
  failed,
  fatal,
  only,
  released,
  running,
} from '../support/engine-database.ts'

const database = useAdmin()
const detail = async (id: string) => {
  const job = await database.admin.jobs.get(id)
  if (job === undefined) throw new Error(`No job ${id}`)
  return job
}
const at = (text: string | null | undefined) => Date.parse(text ?? '')

it('is nothing when there is no such job', async () => {
  expect(await database.admin.jobs.get('987654321')).toBeUndefined()
})

it('has the attempts that began, with when they were claimed and ended, and why', async () => {
  const job = await running(database)
  await close(database, job, failed('one'))
  const second = only(await claimAgain(database))
  await close(database, second, released)
  const third = only(await claimAgain(database))
  expect((await detail(job.id)).attempts.at(-1)).toMatchObject({ attempt: 3, state: 'running', finished_at: null })
  await close(database, third, { kind: 'completed', result: 42 })
  const { attempts, ...rest } = await detail(job.id)
  expect(rest).toMatchObject({ state: 'completed', result: 42, args: { n: 0 } })
  expect(attempts).toMatchObject([
    { attempt: 1, state: 'retryable', error: { code: 'reported', message: 'one' } },
    { attempt: 2, state: 'released', error: null },
    { attempt: 3, state: 'completed', error: null },
  ])
  for (const attempt of attempts) {
    expect(attempt.runtime).toEqual(expect.any(Number))
    expect(at(attempt.available_at)).toBeLessThanOrEqual(at(attempt.claimed_at))
    expect(at(attempt.claimed_at)).toBeLessThanOrEqual(at(attempt.finished_at))
  }
})

it('shows an attempt that waits, unclaimed', async () => {
  const [id] = (await enqueue(database.sql)) as [string]
  expect((await detail(id)).attempts).toMatchObject([
    { attempt: 1, state: 'available', claimed_at: null, runtime: null },
  ])
})

it('knows the errors of attempts whose segment is gone', async () => {
  const job = await running(database)
  await close(database, job, failed('one', 0))
  await close(database, only(await claimAgain(database)), fatal)
  await database.prune()
  expect(await detail(job.id)).toMatchObject({
    state: 'failed',
    attempts: [
      { attempt: 1, state: 'retryable', claimed_at: null, error: { message: 'one' } },
      { attempt: 2, state: 'failed', error: { message: 'no such order' } },
    ],
    dead_letter: { reason: 'terminal_error' },
  })
  await close(database, await running(database), completed)
})
