// What callbacks say of an attempt beyond done and failed: snoozed, too large, out of time, held by somebody else.

import { toSql } from 'millrace'
import postgres from 'postgres'
import { describe, expect, onTestFinished, test } from 'vitest'
import { SnoozeError } from '../core/function/errors.ts'
import { SqlEngine } from '../core/sql-engine.ts'
import { useDatabase } from './support/database.ts'
import { resizing, startFunction } from './support/function.ts'
import { attempt, attempts, startIngress } from './support/ingress.ts'

const database = useDatabase()
const start = () => startIngress(toSql(database.sql))
const next = () => attempt(database.sql)
const job = (id: string) => new SqlEngine(toSql(database.sql)).job(id)

describe('fail with snooze_seconds', () => {
  test('puts the job off: no failure, no attempt, no error text needed', async () => {
    const [{ call }, ref] = [await start(), await next()]
    expect(await call(ref, 'fail', { body: { snooze_seconds: 60 } })).toMatchObject({
      status: 200,
      body: { state: 'available' },
    })
    expect(await job(ref.id)).toMatchObject({ state: 'scheduled', max_attempts: 26, errors: [], put_back: null })
  })

  test('may be repeated; another end is a conflict', async () => {
    const [{ call }, ref] = [await start(), await next()]
    await call(ref, 'fail', { body: { snooze_seconds: 60 } })
    expect((await call(ref, 'fail', { body: { snooze_seconds: 90 } })).status).toBe(200)
    expect(await call(ref, 'complete')).toMatchObject({ status: 409, body: { state: 'available' } })
  })

  test.each([-1, 2_592_001, '60', null, true])('of %j is refused', async seconds => {
    const [{ call }, ref] = [await start(), await next()]
    expect((await call(ref, 'fail', { body: { snooze_seconds: seconds } })).status).toBe(422)
    expect(await job(ref.id)).toMatchObject({ state: 'running' })
  })

  test('is what the SDK says for a SnoozeError', async () => {
    const [{ url }, ref] = [await start(), await next()]
    const { receiver, send } = await startFunction([resizing(() => Promise.reject(new SnoozeError(60)))])
    await send({ ingress: `${url}/api/callbacks`, ref })
    await receiver.idle()
    expect(await job(ref.id)).toMatchObject({ state: 'scheduled', attempt: 2, errors: [] })
  })
})

describe('complete with a result that is too large', () => {
  test('is recorded, and told that the result is not kept', async () => {
    const [{ call }, ref] = [await start(), await next()]
    // Below the limit as it was sent, above it as it is kept.
    const payload = Array.from({ length: 400_000 }, () => 1)
    const { status, body } = await call(ref, 'complete', { body: { payload } })
    expect([status, body.state, body.result_too_large]).toEqual([200, 'completed', true])
    expect(await job(ref.id)).toMatchObject({ result: null, errors: [{ code: 'result_too_large' }] })
  })

  test('that could not even be sent is the same', async () => {
    const [{ call }, ref] = [await start(), await next()]
    expect((await call(ref, 'complete', { body: { payload_too_large: true } })).body.state).toBe('completed')
    expect(await job(ref.id)).toMatchObject({ result: null, errors: [{ code: 'result_too_large' }] })
  })

  test('is no failure for a function with the SDK', async () => {
    const [{ url }, ref] = [await start(), await next()]
    const { receiver, send } = await startFunction([resizing(() => 'x'.repeat(2 ** 20))])
    await send({ ingress: `${url}/api/callbacks`, ref })
    await receiver.idle()
    expect(await job(ref.id)).toMatchObject({ state: 'completed', errors: [{ code: 'result_too_large' }] })
  })
})

test('a heartbeat is told what the time limit of its kind leaves', async () => {
  const [{ call }, ref] = [await start(), await next()]
  await database.sql`insert into millrace.kind (name, time_limit_seconds, source) values ('resize', 30, 'test')`
  const { body } = await call(ref, 'heartbeat', { body: { timeout_seconds: 600 } })
  await database.sql`delete from millrace.kind`
  expect(body.timeout_seconds).toBeCloseTo(30, 0)
})

test('a callback whose attempt an open transaction holds is put off; the others go through', async () => {
  const { call } = await start()
  const refs = await attempts(database.sql, 30)
  const [held, ...free] = refs
  if (held === undefined) throw new Error('nothing to hold')
  const other = postgres(database.url, { max: 1, fetch_types: false })
  onTestFinished(() => other.end())
  await other`begin`
  await other`select * from millrace.cancel(array[${held.id}]::bigint[], null)`
  const answers = await Promise.all([call(held, 'complete'), ...free.map(ref => call(ref, 'complete'))])
  expect(answers[0]).toMatchObject({ status: 503, body: { code: 'unavailable' } })
  expect(answers[0]?.headers.get('retry-after')).toBe('1')
  expect(answers.slice(1).map(({ status }) => status)).toEqual(free.map(() => 200))
  await other`rollback`
  expect(await call(held, 'complete')).toMatchObject({ status: 200, body: { state: 'completed' } })
})

test('so is a heartbeat', async () => {
  const { call } = await start()
  const [held, free] = await attempts(database.sql, 2)
  if (held === undefined || free === undefined) throw new Error('nothing to hold')
  await Promise.all([call(held, 'heartbeat'), call(free, 'heartbeat')])
  const other = postgres(database.url, { max: 1, fetch_types: false })
  onTestFinished(() => other.end())
  await other`begin`
  await other`select * from millrace.cancel(array[${held.id}]::bigint[], null)`
  const answers = await Promise.all([call(held, 'heartbeat'), call(free, 'heartbeat')])
  expect(answers.map(({ status }) => status)).toEqual([503, 200])
  await other`commit`
  expect(await call(held, 'heartbeat')).toMatchObject({ status: 200, body: { cancel: true } })
})
