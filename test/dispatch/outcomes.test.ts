// The outcome rules end to end: real requests, and what Postgres has on record afterwards.

import { type HttpTarget, toSql } from 'millrace'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { type Answer, callBack, type Received, startFunctionServer } from '../support/function-server.ts'
import { startIngress } from '../support/ingress.ts'
import { freshDatabase, startMaintenance, workOn } from '../support/maintenance.ts'

const shared = useDatabase()
let work: Awaited<ReturnType<typeof startMaintenance>>
beforeAll(async () => {
  work = await startMaintenance(shared.url, { listen: true })
})
afterAll(() => work.stop())
let kinds = 0

/** A job of a kind of its own in sync mode, run to the end of its first attempt, with what is then on record. */
async function afterOne(answer: Answer, options: object = {}, more: Partial<HttpTarget> = {}) {
  const database = workOn(shared)
  const kind = `work_${++kinds}`
  const fn = await startFunctionServer(() => answer)
  const target = { url: fn.url, mode: 'sync', ...more } as const
  await database.declare([{ name: kind, target, retry: { strategy: 'fixed', baseSeconds: 60 } }], [], kind)
  const id = await database.enqueue(kind, {}, options)
  const closed = await work.closed(id)
  return { closed, job: await database.job(id), throttled: work.events.of({ type: 'throttled', origin: fn.url }) }
}

const json = (body: string, status = 200): Answer => ({ status, body, headers: { 'content-type': 'application/json' } })

describe('200 in sync mode completes the job', () => {
  test.each<[string, Answer, unknown]>([
    ['a JSON answer is the result', json('{"pages":2}'), { pages: 2 }],
    ['a text is not kept', { body: 'done' }, null],
    ['no body is no result', { status: 204 }, null],
    ['a result with NUL, which jsonb cannot hold, is left out', json('{"text":"a\\u0000b"}'), null],
    ['half a surrogate pair, too', json('{"text":"\\ud83d"}'), null],
    ['a result that nests without end, too', json('['.repeat(50_000) + ']'.repeat(50_000)), null],
    ['numbers beyond all doubles, too', json('[1e400]'), null],
  ])('%s', async (_, answer, result) => {
    const { job, closed } = await afterOne(answer)
    expect(closed).toMatchObject({ state: 'completed', fresh: true })
    expect(job).toMatchObject({ state: 'completed', result, attempt: 1, errors: [] })
  })
})

test('an oversized answer completes the job too, with a word on why there is no result', async () => {
  const { job } = await afterOne(json(JSON.stringify('x'.repeat(1024 * 1024))))
  expect(job).toMatchObject({ state: 'completed', result: null, errors: [{ attempt: 1, code: 'result_too_large' }] })
})

test('Millrace-Snooze puts the job off, which costs no attempt and is no failure', async () => {
  const { job, closed, throttled } = await afterOne({ headers: { 'millrace-snooze': '60' } }, { max_attempts: 1 })
  expect(closed).toMatchObject({ state: 'available', fresh: true })
  expect(job).toMatchObject({ state: 'scheduled', attempt: 2, max_attempts: 2, errors: [], put_back: null })
  expect(Date.parse(job.run_at)).toBeGreaterThan(Date.now() + 50_000)
  expect(throttled).toEqual([])
})

test.each([
  [404, 'retryable'],
  [429, 'retryable'],
  [500, 'failed'],
])('a kind may declare what %i means: %s', async (status, state) => {
  const { job } = await afterOne({ status }, {}, { statuses: { retry: [404, 429], final: [500] } })
  expect(job).toMatchObject({ state, put_back: null, errors: [{ code: `http_${status}` }] })
})

test.each([400, 404, 422])('%i fails the job for good, however many attempts are left', async status => {
  const { job } = await afterOne({ status, body: 'no such order' })
  expect(job).toMatchObject({ state: 'failed', attempt: 1, max_attempts: 25 })
  expect(job.errors).toMatchObject([
    { attempt: 1, code: `http_${status}`, message: `function returned ${status}: no such order` },
  ])
})

test.each([302, 408, 425, 500, 503])('%i fails the attempt; the next comes after the backoff', async status => {
  const { job } = await afterOne({ status, headers: { location: '/elsewhere' } })
  expect(job).toMatchObject({
    state: 'retryable',
    attempt: 2,
    max_attempts: 25,
    errors: [{ attempt: 1, code: `http_${status}` }],
  })
  expect(Date.parse(job.run_at)).toBeGreaterThan(Date.now() + 30_000)
})

test.each(['sync', 'callback'] as const)('%s mode: the time limit of a kind is in the deadline', async mode => {
  const database = await freshDatabase()
  const fn = await startFunctionServer(() => ({ status: 500 }))
  await database.declare([{ name: 'work', target: { url: fn.url, mode }, timeLimitSeconds: 20, maxAttempts: 1 }])
  await database.maintain({ callbackUrl: 'http://127.0.0.1:9' })
  const before = Date.now()
  await database.enqueue('work')
  const { headers, text } = await fn.received.first({})
  const deadline = Date.parse(JSON.parse(text).deadline)
  expect(headers['millrace-deadline']).toBe(new Date(deadline).toISOString())
  expect(deadline).toBeGreaterThanOrEqual(before + 20_000)
  expect(deadline).toBeLessThanOrEqual(Date.now() + 20_000)
})

test('the last attempt fails the job for good', async () => {
  const { job } = await afterOne({ status: 500 }, { max_attempts: 1 })
  expect(job).toMatchObject({ state: 'failed', attempt: 1, errors: [{ code: 'http_500' }] })
})

test('an error text that jsonb cannot hold is kept without what is wrong with it', async () => {
  const { job } = await afterOne({ status: 500, body: 'disk\0full' })
  expect(job).toMatchObject({ state: 'retryable', errors: [{ message: 'function returned 500: disk\ufffdfull' }] })
})

test('an error text whose cut would halve a character is kept up to there', async () => {
  const { job } = await afterOne({ status: 500, body: `x${'😀'.repeat(1_000)}` })
  expect(job).toMatchObject({ state: 'retryable' })
  expect(job.errors[0]?.message?.length).toBeGreaterThan(1_800)
})

describe('Millrace-No-Retry', () => {
  test('true: a 500 is final', async () => {
    const { job } = await afterOne({ status: 500, headers: { 'millrace-no-retry': 'true' } })
    expect(job.state).toBe('failed')
  })

  test('false: a 401 is retried', async () => {
    const { job } = await afterOne({ status: 401, headers: { 'millrace-no-retry': 'false' } })
    expect(job.state).toBe('retryable')
  })
})

describe('a throttled job is put back and keeps its attempts', () => {
  test.each<[string, Answer, number]>([
    ['429 with seconds', { status: 429, headers: { 'retry-after': '60' } }, 60],
    ['503 with seconds', { status: 503, headers: { 'retry-after': '60' } }, 60],
    ['429 with a date', { status: 429, headers: { 'retry-after': new Date(Date.now() + 60_000).toUTCString() } }, 60],
    ['429 with RateLimit-Reset', { status: 429, headers: { 'ratelimit-reset': '60' } }, 60],
    ['429 without a time', { status: 429 }, 3],
  ])('%s', async (_, answer, seconds) => {
    const { job, closed, throttled } = await afterOne(answer, { max_attempts: 1 })
    expect(closed).toMatchObject({ state: 'available', fresh: true })
    // The number of the attempt only ever grows; the budget grows with it.
    expect(job).toMatchObject({ state: 'scheduled', attempt: 2, max_attempts: 2, errors: [] })
    expect(job.put_back).toMatchObject({ code: `http_${answer.status}` })
    const wait = (Date.parse(job.run_at) - Date.now()) / 1000
    expect(wait).toBeGreaterThan(seconds / 2 - 1)
    expect(wait).toBeLessThan(seconds + 2)
    expect(throttled).toHaveLength(1)
  })

  test('until that has gone on for too long: then it is a failed attempt', async () => {
    const database = await freshDatabase()
    const fn = await startFunctionServer(() => ({ status: 429, headers: { 'retry-after': '60' } }))
    await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync' } }])
    await database.sql`update millrace.setting set value = 0 where name = 'put_back_limit_seconds'`
    const id = await database.enqueue('work', {}, { max_attempts: 1 })
    const work = await database.maintain()
    await work.closed(id, 'failed')
    expect(await database.job(id)).toMatchObject({ state: 'failed', errors: [{ code: 'http_429' }] })
  })
})

describe('no answer', () => {
  test('nobody listens there: the attempt failed, in either mode', async () => {
    const database = await freshDatabase()
    const fn = await startFunctionServer()
    await fn.stop()
    await database.declare([
      { name: 'sync', target: { url: fn.url, mode: 'sync' } },
      { name: 'callback', target: { url: fn.url, mode: 'callback' } },
    ])
    const ids = [
      await database.enqueue('sync', {}, { max_attempts: 1 }),
      await database.enqueue('callback', {}, { max_attempts: 1 }),
    ]
    const work = await database.maintain({ callbackUrl: 'http://127.0.0.1:9' })
    for (const id of ids) {
      await work.closed(id, 'failed')
      expect(await database.job(id)).toMatchObject({ state: 'failed', errors: [{ code: 'connect' }] })
    }
  })

  test.each<[string, (received: Received) => void, string]>([
    ['closes the socket', ({ response }) => void response.destroy(), 'connection_lost'],
    ['answers garbage', ({ response }) => void response.socket?.end('¿que?\r\n\r\n'), 'connection_lost'],
    ['hangs', () => undefined, 'timeout'],
  ])('sync mode, a function that %s: the attempt failed and is retried', async (_, misbehave, code) => {
    const database = await freshDatabase()
    const fn = await startFunctionServer((received, nth) => (nth === 1 ? void misbehave(received) : json('"second"')))
    await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync', requestTimeoutSeconds: 0.2 } }])
    const id = await database.enqueue('work')
    const work = await database.maintain()
    await work.closed(id, 'completed')
    expect(await database.job(id)).toMatchObject({
      state: 'completed',
      attempt: 2,
      result: 'second',
      errors: [{ code }],
    })
  })

  test('the longest time-out that can be declared, longer than timers can be, is no short one', async () => {
    const database = await freshDatabase()
    const fn = await startFunctionServer()
    await database.declare([
      { name: 'work', target: { url: fn.url, mode: 'sync', requestTimeoutSeconds: 30 * 86_400 } },
    ])
    const work = await database.maintain()
    await work.closed(await database.enqueue('work'), 'completed')
    expect(fn.received.all).toHaveLength(1)
  })

  describe('callback mode: the function may be at work, so the attempt stays open for the ambiguity window', () => {
    test('a function that did accept it can still close it', async () => {
      const database = await freshDatabase()
      const ingress = await startIngress(toSql(database.sql))
      const fn = await startFunctionServer(() => undefined)
      await database.declare([{ name: 'work', target: { url: fn.url, requestTimeoutSeconds: 0.1 } }])
      const id = await database.enqueue('work')
      const work = await database.maintain({ callbackUrl: ingress.url })
      await work.events.until({ type: 'parked', job: id, code: 'timeout' })
      expect(await database.job(id)).toMatchObject({ state: 'waiting_external', attempt: 1 })
      const answer = await callBack(await fn.received.first({}), 'complete', { payload: 7 })
      expect(answer).toMatchObject({ status: 200, body: { state: 'completed' } })
      expect(await database.job(id)).toMatchObject({ state: 'completed', attempt: 1, result: 7, errors: [] })
    })

    test('otherwise it is retried after the window', async () => {
      const database = await freshDatabase()
      const ingress = await startIngress(toSql(database.sql))
      const fn = await startFunctionServer(async (received, nth) => {
        if (nth === 1) return void received.response.destroy()
        await callBack(received)
        return { status: 202 }
      })
      await database.declare([{ name: 'work', target: { url: fn.url } }])
      const id = await database.enqueue('work')
      const work = await database.maintain({ callbackUrl: ingress.url, ambiguitySeconds: 0.01 })
      await work.events.until({ type: 'rescued', parked: 1 })
      await fn.received.until(({ body }) => body.attempt === 2)
      await work.events.until({ type: 'parked', job: id, attempt: 2 })
      expect(await database.job(id)).toMatchObject({
        state: 'completed',
        attempt: 2,
        errors: [{ code: 'callback_timeout' }],
      })
    })
  })

  test('callback mode, accepted but silent: retried after the callback time-out, while attempts are left', async () => {
    const database = await freshDatabase()
    const fn = await startFunctionServer(() => ({ status: 202 }))
    await database.declare([{ name: 'work', target: { url: fn.url, callbackTimeoutSeconds: 0.01 } }])
    const id = await database.enqueue('work', {}, { max_attempts: 1 })
    const work = await database.maintain({ callbackUrl: 'http://127.0.0.1:9' })
    await work.events.until({ type: 'rescued', parked: 1 })
    expect(await database.job(id)).toMatchObject({ state: 'failed', errors: [{ code: 'callback_timeout' }] })
  })
})
