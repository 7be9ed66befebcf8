// The callback ingress over real HTTP and Postgres: what each callback does, and what it is answered.

import { toSql } from 'millrace'
import { callbacks } from 'millrace/callbacks'
import { callbackIdOf, eventKey, eventToken } from 'millrace/protocol'
import postgres from 'postgres'
import { describe, expect, test } from 'vitest'
import type { AttemptRef } from '../core/engine.ts'
import type { Sql } from '../core/sql.ts'
import { SqlEngine } from '../core/sql-engine.ts'
import { useDatabase } from './support/database.ts'
import { resizing, startFunction } from './support/function.ts'
import { attempt, attempts, boundHeaders, echoedHeaders, keyring, startIngress } from './support/ingress.ts'

const database = useDatabase()
const engine = () => new SqlEngine(toSql(database.sql))
const start = (options = {}) => startIngress(toSql(database.sql), options)
const next = (): Promise<AttemptRef> => attempt(database.sql)
const job = async (ref: AttemptRef) => await engine().job(ref.id)

describe('complete', () => {
  test('records the result', async () => {
    const [{ call }, ref] = [await start(), await next()]
    const { status, body } = await call(ref, 'complete', { body: { payload: { pages: 2 } } })
    expect([status, body]).toEqual([200, { id: callbackIdOf(keyring, ref), state: 'completed' }])
    expect(await job(ref)).toMatchObject({ state: 'completed', result: { pages: 2 } })
  })

  test.each([
    ['no body', '', null],
    ['no payload', {}, null],
    ['null', { payload: null }, null],
    ['text with escapes', { payload: 'a\u0001"\\u0000"' }, 'a\u0001"\\u0000"'],
    ['any JSON', { payload: [1.5, true, { a: [] }] }, [1.5, true, { a: [] }]],
  ])('takes %s', async (_, body, result) => {
    const [{ call }, ref] = [await start(), await next()]
    expect((await call(ref, 'complete', { body })).status).toBe(200)
    expect(await job(ref)).toMatchObject({ state: 'completed', result })
  })
})

describe('fail', () => {
  test('is final unless it says otherwise, as with Awa', async () => {
    const [{ call }, ref] = [await start(), await next()]
    expect((await call(ref, 'fail', { body: { error: 'no such order' } })).body.state).toBe('failed')
    expect(await job(ref)).toMatchObject({ state: 'failed', errors: [{ code: 'reported', message: 'no such order' }] })
  })

  test('with retryable: true goes on with the next attempt', async () => {
    const [{ call }, ref] = [await start(), await next()]
    expect((await call(ref, 'fail', { body: { error: 'oops', retryable: true } })).body.state).toBe('retryable')
    expect(await job(ref)).toMatchObject({ state: 'retryable', errors: [{ attempt: 1, message: 'oops' }] })
  })

  test('with retry_after_seconds puts the job back, which costs no attempt', async () => {
    const [{ call }, ref] = [await start(), await next()]
    const body = { error: 'throttled', retryable: true, retry_after_seconds: 60 }
    expect((await call(ref, 'fail', { body })).body.state).toBe('available')
    expect((await call(ref, 'fail', { body })).status).toBe(200)
    expect(await job(ref)).toMatchObject({ max_attempts: 26, put_back: { message: 'throttled' } })
  })

  test('with half a surrogate pair in the error is recorded all the same', async () => {
    const [{ call }, ref] = [await start(), await next()]
    const answer = await call(ref, 'fail', { body: JSON.stringify({ error: `${'x'.repeat(9_999)}😀` }) })
    expect(answer.status).toBe(200)
  })
})

describe('heartbeat', () => {
  test('keeps the attempt open and its progress', async () => {
    const [{ call }, ref] = [await start(), await next()]
    const progress = { percent: 140, message: 'half', metadata: { page: 2 } }
    const { status, body } = await call(ref, 'heartbeat', { body: { timeout_seconds: 60, progress } })
    expect([status, body]).toEqual([200, { id: callbackIdOf(keyring, ref), state: 'waiting_external' }])
    expect(await job(ref)).toMatchObject({ progress: { ...progress, percent: 100 } })
    expect((await call(ref, 'heartbeat')).status).toBe(200)
  })

  test('tells of a cancellation', async () => {
    const [{ call }, ref] = [await start(), await next()]
    await database.sql`select * from millrace.cancel(array[${ref.id}]::bigint[], null)`
    expect(await call(ref, 'heartbeat')).toMatchObject({ status: 200, body: { state: 'cancelled', cancel: true } })
    expect(await call(ref, 'complete')).toMatchObject({ status: 409, body: { state: 'cancelled' } })
  })

  test('comes too late for an attempt that has ended', async () => {
    const [{ call }, ref] = [await start(), await next()]
    await call(ref, 'complete')
    expect(await call(ref, 'heartbeat')).toMatchObject({ status: 409, body: { code: 'attempt_closed' } })
  })
})

describe('late and concurrent callbacks', () => {
  test('the same outcome again is answered 200, with the result on record', async () => {
    const [{ call }, ref] = [await start(), await next()]
    await call(ref, 'complete', { body: { payload: 'first' } })
    const again = await call(ref, 'complete', { body: { payload: 'second' } })
    expect(again).toMatchObject({ status: 200, body: { state: 'completed', result: 'first' } })
    expect(await job(ref)).toMatchObject({ result: 'first' })
  })

  test('another outcome is a conflict and changes nothing', async () => {
    const [{ call }, ref] = [await start(), await next()]
    await call(ref, 'fail', { body: { error: 'oops' } })
    const late = await call(ref, 'complete', { body: { payload: 1 } })
    expect(late).toMatchObject({ status: 409, body: { code: 'attempt_closed', state: 'failed' } })
    expect(await job(ref)).toMatchObject({ state: 'failed', result: null })
  })

  test('of many at once exactly one decides, and all hear the same', async () => {
    const [{ call }, ref] = [await start(), await next()]
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        i % 2 ? call(ref, 'complete', { body: { payload: i } }) : call(ref, 'fail', { body: { error: `${i}` } }),
      ),
    )
    const states = new Set(answers.map(({ body }) => body.state))
    expect(states.size).toBe(1)
    expect(await job(ref)).toMatchObject({ state: [...states][0] })
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(20)
    const results = answers.flatMap(({ status, body }) => (status === 200 && 'result' in body ? [body.result] : []))
    expect(new Set(results).size).toBeLessThanOrEqual(1)
  })

  test('an attempt that never was is 404, to its rightful key alone', async () => {
    const { call } = await start()
    const never = { segment: '999999', id: '1', attempt: 1 }
    expect(await call(never, 'complete')).toMatchObject({ status: 404, body: { code: 'not_found' } })
    expect(await call(never, 'heartbeat')).toMatchObject({ status: 404 })
    expect(await call(never, 'complete', { headers: {} })).toMatchObject({ status: 401 })
  })
})

describe('grouping', () => {
  /** The real port, counting. */
  const counting = () => {
    const statements: string[] = []
    const sql = toSql(database.sql)
    const counted: Sql = {
      query: (text, params) => {
        statements.push(text)
        return sql.query(text, params)
      },
    }
    return { counted, statements }
  }

  test('one callback is one statement', async () => {
    const { counted, statements } = counting()
    const [{ call }, ref] = [await startIngress(counted), await next()]
    await call(ref, 'complete')
    expect(statements).toHaveLength(1)
  })

  test('many at once share statements, each closed and answered on its own', async () => {
    const { counted, statements } = counting()
    const app = callbacks({ store: new SqlEngine(counted), keyring })
    const refs = await attempts(database.sql, 100)
    const answers = await Promise.all(
      refs.map((ref, i) => {
        const [id, body] = [callbackIdOf(keyring, ref), { payload: i }]
        const headers = boundHeaders(id, 'complete', { body })
        return app.request(`/api/callbacks/${id}/complete`, { method: 'POST', headers, body: JSON.stringify(body) })
      }),
    )
    expect(answers.every(({ status }) => status === 200)).toBe(true)
    const jobs = await Promise.all(refs.map(job))
    expect(jobs.map(job => job?.result)).toEqual(refs.map((_, i) => i))
    expect(statements.length).toBeLessThan(10)
  })
})

describe('without the database', () => {
  test('callbacks are put off, never taken or refused', async () => {
    const nobody = postgres('postgres://nobody@127.0.0.1:1/none', { fetch_types: false })
    const [{ call, url }, ref] = [await startIngress(toSql(nobody)), await next()]
    const { status, headers, body } = await call(ref, 'complete')
    expect([status, headers.get('retry-after'), body.code]).toEqual([503, '1', 'unavailable'])
    const token = eventToken(eventKey(keyring.keys[0], ref.id), ref.id, 'payment')
    const event = await fetch(`${url}/api/events/${token}`, { method: 'POST' })
    expect([event.status, await event.json()]).toMatchObject([
      503,
      { error: 'The event could not be recorded, try again' },
    ])
    expect(await call(ref, 'complete', { headers: {} })).toMatchObject({ status: 401 })
    await nobody.end()
  })
})

test('the SDK and the ingress understand each other', async () => {
  const [{ url, call }, ref] = [await start(), await next()]
  const { receiver, send } = await startFunction([
    resizing(async ({ width }, job) => {
      await job.setProgress({ percent: 50, metadata: { page: 1 } })
      await job.heartbeat()
      return { width }
    }),
  ])
  await send({ ingress: `${url}/api/callbacks`, ref })
  await receiver.idle()
  expect(await call(ref, 'complete', { body: {} })).toMatchObject({ status: 200, body: { result: { width: 8 } } })
})

test('an echoed header is enough for a function that was written for Awa', async () => {
  const [{ call }, ref] = [await start(), await next()]
  const headers = echoedHeaders(callbackIdOf(keyring, ref))
  expect(await call(ref, 'heartbeat', { headers })).toMatchObject({ status: 200 })
  expect(await call(ref, 'complete', { headers, body: { payload: 1 } })).toMatchObject({ status: 200 })
})

test('a prefix may be given, and may be blank', async () => {
  for (const prefix of ['hooks/jobs/', '']) {
    const [{ call }, ref] = [await start({ prefix }), await next()]
    expect((await call(ref, 'complete')).status).toBe(200)
  }
})

test('there is a health check and nothing else', async () => {
  const { url } = await start()
  const id = callbackIdOf(keyring, { segment: '0', id: '1', attempt: 1 })
  expect(await (await fetch(`${url}/healthz`)).json()).toEqual({ ok: true })
  for (const path of ['/', '/api', `/api/callbacks/${id}`, `/api/callbacks/${id}/resume`, `/${id}/complete`]) {
    expect((await fetch(`${url}${path}`, { method: 'POST' })).status, path).toBe(404)
  }
  for (const method of ['GET', 'PUT', 'OPTIONS']) {
    const response = await fetch(`${url}/api/callbacks/${id}/complete`, { method })
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST'])
  }
})

test('fails closed: no keyring, no ingress', () => {
  expect(() => callbacks({ store: engine() })).toThrow(expect.objectContaining({ code: 'invalid_configuration' }))
  expect(() => callbacks({ store: engine(), keyring: 'abc' })).toThrow(
    expect.objectContaining({ code: 'invalid_keyring' }),
  )
})

test('unsigned callbacks are taken only where that was asked for, and wrong signatures not even there', async () => {
  const [{ call }, ref] = [await start({ allowUnsigned: true }), await next()]
  const wrong = boundHeaders(callbackIdOf(keyring, ref), 'fail')
  expect((await call(ref, 'complete', { headers: wrong })).status).toBe(401)
  expect((await call(ref, 'complete', { headers: {} })).status).toBe(200)
})

test.each([
  ['sent to a public name', 'http://jobs.example.com', {}, undefined],
  ['sent to an address of the network', 'http://10.0.0.1:4000', {}, undefined],
  ['sent to a name that only looks like loopback', 'http://127.0.0.1.example.com', {}, undefined],
  ['forwarded by a proxy', 'http://localhost', { 'x-forwarded-for': '198.51.100.7' }, undefined],
  ['forwarded by a proxy that says it otherwise', 'http://localhost', { 'x-real-ip': '198.51.100.7' }, undefined],
  ['from a page of the web', 'http://localhost', { origin: 'https://www.example.com' }, undefined],
  ['from a page of nowhere', 'http://localhost', { origin: 'null' }, undefined],
  ['from another machine that says localhost', 'http://localhost', {}, '198.51.100.7'],
])('an unsigned callback %s is refused wherever unsigned ones are allowed', async (_, base, headers, remoteAddress) => {
  const ref = await next()
  for (const keys of [undefined, keyring]) {
    const app = callbacks({ store: engine(), keyring: keys, allowUnsigned: true })
    const url = `${base}/api/callbacks/${callbackIdOf(keyring, ref)}/complete`
    const env = remoteAddress && { incoming: { socket: { remoteAddress } } }
    expect((await app.fetch(new Request(url, { method: 'POST', headers }), env)).status).toBe(401)
    const local = new Request(url.replace(base, 'http://[::1]:4000'), { method: 'POST' })
    expect((await app.fetch(local, { incoming: { socket: { remoteAddress: '::ffff:127.0.0.1' } } })).status).toBe(200)
  }
})
