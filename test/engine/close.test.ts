// How an attempt ends: one outcome each, and what follows from it in the same transaction.

import { describe, expect, it } from 'vitest'
import type { Outcome } from '../../core/engine.ts'
import {
  claimAgain,
  claimAll,
  close,
  completed,
  delay,
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
const declare = (retry: object) =>
  database.sql`insert into millrace.kind (name, retry, source) values ('resize', ${JSON.stringify(retry)}::text::jsonb, 'test')`

describe('completed', () => {
  it('ends the job and keeps its result', async () => {
    const job = await running(database)
    const outcome: Outcome = { kind: 'completed', result: { pages: 3 } }
    expect(await close(database, job, outcome)).toEqual({ state: 'completed', fresh: true })
    expect(await view(database, job.id)).toMatchObject({ state: 'completed', result: { pages: 3 }, errors: [] })
    expect(await claimAgain(database)).toEqual([])
  })

  it('can have the JSON value null as its result, which is not the same as none', async () => {
    const [one, other] = [await running(database), await running(database)]
    await close(database, one, { kind: 'completed', result: null })
    await close(database, other, completed)
    expect(await close(database, one, completed)).toEqual({ state: 'completed', fresh: false, result: null })
    expect(await close(database, other, completed)).toEqual({ state: 'completed', fresh: false })
  })

  it('is final: whatever is said later changes nothing and hears what is on record', async () => {
    const job = await running(database)
    await close(database, job, { kind: 'completed', result: 1 })
    for (const outcome of [{ kind: 'completed', result: 2 } as const, failed(), fatal, putBack(), released]) {
      expect(await close(database, job, outcome)).toEqual({ state: 'completed', fresh: false, result: 1 })
    }
    expect(await view(database, job.id)).toMatchObject({ state: 'completed', result: 1, attempt: 1 })
    expect(await claimAgain(database)).toEqual([])
  })
})

describe('failed', () => {
  it('is retried later, with its error in the history', async () => {
    const job = await running(database)
    expect(await close(database, job, failed('disk full'))).toEqual({ state: 'retryable', fresh: true })
    const retryable = await view(database, job.id)
    expect(retryable).toMatchObject({ state: 'retryable', attempt: 2, max_attempts: 25 })
    expect(retryable.errors).toMatchObject([{ attempt: 1, code: 'reported', message: 'disk full' }])
    expect(only(await claimAgain(database))).toMatchObject({ id: job.id, attempt: 2 })
  })

  it('is final when it is not retryable', async () => {
    const job = await running(database)
    expect(await close(database, job, fatal)).toEqual({ state: 'failed', fresh: true })
    expect(await view(database, job.id)).toMatchObject({ state: 'failed', errors: [{ message: 'no such order' }] })
    expect(await claimAgain(database)).toEqual([])
  })

  it('is final when no attempts are left', async () => {
    const job = await running(database, { max_attempts: 2 })
    await close(database, job, failed('first'))
    const last = only(await claimAgain(database))
    expect(await close(database, last, failed('second'))).toEqual({ state: 'failed', fresh: true })
    expect((await view(database, job.id)).errors).toMatchObject([{ message: 'first' }, { message: 'second' }])
    expect(await claimAgain(database)).toEqual([])
  })

  it('closes only its own attempt: an earlier one says so, a later one goes on', async () => {
    const job = await running(database)
    await close(database, job, failed())
    const second = only(await claimAgain(database))
    expect(await close(database, job, completed)).toEqual({ state: 'retryable', fresh: false })
    expect(await close(database, second, completed)).toEqual({ state: 'completed', fresh: true })
  })

  it('keeps at most 2000 characters of a message', async () => {
    const job = await running(database)
    await close(database, job, failed('ä'.repeat(5000)))
    expect((await view(database, job.id)).errors).toMatchObject([{ message: 'ä'.repeat(2000) }])
  })

  it('keeps the last 50 errors', async () => {
    await database.sql`
      insert into millrace.job_log (id, lane, attempt, max_attempts, slot, kind, payload, errors)
      select 1000000, millrace.open_lane('default', 2), 61, 100, 0, 'resize', '{}',
        jsonb_agg(jsonb_build_object('attempt', n)) from generate_series(11, 60) n`
    await close(database, only(await claimAll(database)), failed())
    const { errors } = await view(database, '1000000')
    expect(errors.map(({ attempt }) => attempt)).toEqual(Array.from({ length: 50 }, (_, n) => n + 12))
  })
})

describe('the wait before a retry', () => {
  it.each([
    ['by default doubles from 2 s, with a quarter of jitter', {}, 1, 2, 2.5],
    ['by default doubles with every failure', {}, 4, 16, 20],
    ['is a day at most', {}, 20, 86_400, 86_400],
    ['doubles from its base', { strategy: 'exponential', base_seconds: 5, jitter: 0 }, 3, 20, 20],
    ['stops at its cap', { strategy: 'exponential', cap_seconds: 30, jitter: 0 }, 9, 30, 30],
    ['stops at its cap, jitter included', { strategy: 'exponential', cap_seconds: 30, jitter: 1 }, 9, 30, 30],
    ['grows by its base', { strategy: 'linear', base_seconds: 7, jitter: 0 }, 3, 21, 21],
    ['grows by 2 s when linear without a base', { strategy: 'linear', jitter: 0 }, 3, 6, 6],
    ['stays fixed, with jitter', { strategy: 'fixed', base_seconds: 10, jitter: 0.5 }, 8, 10, 15],
    ['may be none', { strategy: 'fixed', base_seconds: 0 }, 8, 0, 0],
    ['follows a list', { strategy: 'list', delays_seconds: [1, 60, 3600], jitter: 0 }, 2, 60, 60],
    ['repeats the last of a list', { strategy: 'list', delays_seconds: [1, 60, 3600], jitter: 0 }, 7, 3600, 3600],
    ['survives any number of attempts', { strategy: 'exponential', cap_seconds: 100_000 }, 1000, 100_000, 100_000],
  ])('%s', async (_, policy, failures, least, most) => {
    const rows = await database.sql<{ seconds: number }[]>`
      select extract(epoch from millrace.backoff(${JSON.stringify(policy)}::text::jsonb, ${failures}))::float8 as seconds
      from generate_series(1, 200)`
    const waits = rows.map(({ seconds }) => seconds)
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(least)
    expect(Math.max(...waits)).toBeLessThanOrEqual(most)
    if (most > least) expect(new Set(waits).size).toBeGreaterThan(1)
  })

  it("is the kind's", async () => {
    await declare({ strategy: 'list', delays_seconds: [100, 200], jitter: 0 })
    const job = await running(database)
    await close(database, job, failed())
    expect(await delay(database)).toBeCloseTo(100, 1)
    await close(database, only(await claimAgain(database)), failed())
    expect(await delay(database)).toBeCloseTo(200, 1)
  })

  it('can be given with the failure', async () => {
    const job = await running(database)
    await close(database, job, failed('later', 90_500))
    expect(await delay(database)).toBeCloseTo(90.5, 1)
  })

  it('counts failures, not the times that the job was put back', async () => {
    await declare({ strategy: 'linear', base_seconds: 10, jitter: 0 })
    let job = await running(database)
    await close(database, job, failed())
    for (const outcome of [putBack(), released, putBack()]) {
      job = only(await claimAgain(database))
      await close(database, job, outcome)
    }
    await close(database, only(await claimAgain(database)), failed())
    expect(await delay(database)).toBeCloseTo(20, 1)
  })
})

describe('put back', () => {
  it('costs no attempt and is no error', async () => {
    let job = await running(database, { max_attempts: 2 })
    for (let n = 0; n < 3; n++) {
      expect(await close(database, job, putBack(60_000, 'slow down'))).toEqual({ state: 'available', fresh: true })
      expect(await delay(database)).toBeCloseTo(60, 1)
      job = only(await claimAgain(database))
    }
    expect(await view(database, job.id)).toMatchObject({
      errors: [],
      put_back: { code: 'http_429', message: 'slow down' },
    })
    expect(await close(database, job, failed())).toMatchObject({ state: 'retryable' })
    expect(await close(database, only(await claimAgain(database)), failed())).toMatchObject({ state: 'failed' })
  })

  /** As if the job had first been put back so long ago. */
  const age = (seconds: number) => database.sql`
    update millrace.deferred set put_back = put_back || jsonb_build_object('since', now() - make_interval(secs => ${seconds}))`

  it('counts as a failure once it has gone on for a day', async () => {
    const job = await running(database)
    await close(database, job, putBack())
    await age(86_401)
    expect(await close(database, only(await claimAgain(database)), putBack())).toMatchObject({ state: 'retryable' })
    expect(await view(database, job.id)).toMatchObject({ errors: [{ code: 'http_429', attempt: 2 }], put_back: null })
  })

  it('has the same limit when a dispatcher hands the job back in between', async () => {
    const job = await running(database)
    await close(database, job, putBack())
    await age(86_000)
    await close(database, only(await claimAgain(database)), released)
    const { put_back } = await view(database, job.id)
    expect(Date.parse(put_back?.since ?? '')).toBeLessThan(Date.now() - 85_000_000)
  })

  it('has the limit anew after a failure', async () => {
    const job = await running(database)
    await close(database, job, putBack())
    await age(86_000)
    await close(database, only(await claimAgain(database)), failed())
    expect((await view(database, job.id)).put_back).toBeNull()
  })
})

describe('released', () => {
  it('is available at once and costs no attempt', async () => {
    const job = await running(database, { max_attempts: 1 })
    expect(await close(database, job, released)).toEqual({ state: 'available', fresh: true })
    expect(await view(database, job.id)).toMatchObject({ state: 'available', errors: [] })
    const again = only(await claimAll(database))
    expect(again).toMatchObject({ id: job.id, attempt: 2 })
    expect(await close(database, again, failed())).toMatchObject({ state: 'failed' })
  })

  it('goes to the current segment', async () => {
    const job = await running(database)
    await database.sql`insert into millrace.segment (number) values (1)`
    await close(database, job, released)
    expect(only(await claimAll(database))).toMatchObject({ id: job.id, segment: '1' })
  })
})

describe('an attempt that does not exist', () => {
  it.each([failed(), fatal, putBack(), released])('cannot be closed: $kind', async outcome => {
    const job = await running(database)
    expect(await close(database, { ...ref(job), attempt: 2 }, outcome)).toEqual({ state: 'unknown', fresh: false })
    expect(await close(database, { ...ref(job), id: '123456789' }, outcome)).toEqual({ state: 'unknown', fresh: false })
    expect(await view(database, job.id)).toMatchObject({ state: 'running' })
  })

  it('may lie in a segment that is gone', async () => {
    const job = await running(database)
    for (const outcome of [completed, failed(), fatal, putBack(), released]) {
      expect(await close(database, { ...ref(job), segment: '8' }, outcome)).toEqual({ state: 'unknown', fresh: false })
    }
    expect(await view(database, job.id)).toMatchObject({ state: 'running' })
  })

  it('does not stop the others of the call', async () => {
    const [one, other] = [await running(database), await running(database)]
    const closed = await database.engine.close([
      { ...ref(one), outcome: failed() },
      { segment: '99', id: one.id, attempt: 1, outcome: failed() },
      { segment: '0', id: '987654321', attempt: 1, outcome: failed() },
      { ...ref(other), outcome: completed },
    ])
    expect(closed.map(({ state }) => state)).toEqual(['retryable', 'unknown', 'unknown', 'completed'])
  })
})

it('an outcome that is none changes nothing', async () => {
  const job = await running(database)
  const rows = await database.sql`
    select state, fresh from millrace.close(array[${job.segment}::bigint], array[${job.id}::bigint], array[1], array['done'])`
  expect(rows).toEqual([{ state: null, fresh: false }])
  expect(await view(database, job.id)).toMatchObject({ state: 'running' })
})
