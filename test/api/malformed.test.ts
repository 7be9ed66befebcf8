// Requests of those who have a key and get it wrong, and a database that is away.

import fc from 'fast-check'
import postgres from 'postgres'
import { describe, expect, it, onTestFinished } from 'vitest'
import { caller, KEYS, makeApi, operations, useApi } from '../support/api.ts'
import { enqueue } from '../support/engine-database.ts'
import { listen } from '../support/http-server.ts'

const api = useApi()
const { call } = api

describe('bodies', () => {
  const send = (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string>) =>
    api.app.request('/api/jobs', { method: 'POST', body, headers: { authorization: `Bearer ${KEYS.all}`, ...headers } })
  const json = { 'content-type': 'application/json' }

  it.each([
    ['no type', {}],
    ['text', { 'content-type': 'text/plain' }],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['something like JSON', { 'content-type': 'application/jsonp' }],
    ['compressed', { ...json, 'content-encoding': 'gzip' }],
  ])('of %s are refused', async (_, headers) => {
    const response = await send('{"kind":"a"}', headers)
    expect(response.status).toBe(415)
    expect(await response.json()).toMatchObject({ error: { code: 'unsupported_media_type' } })
  })

  it('of JSON are taken, whatever else the type says', async () => {
    for (const type of ['application/json', 'application/json; charset=utf-8', 'Application/JSON ;x=y']) {
      expect((await send('{"kind":"a"}', { 'content-type': type })).status).toBe(201)
    }
  })

  it('that are not UTF-8 are refused', async () => {
    expect((await send(new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d]), json)).status).toBe(400)
  })

  it('are as large as the limit, whatever their length is said to be', async () => {
    const { app } = makeApi({ sql: api.sql, maxBodyBytes: 1_000 })
    const url = await listen(request => app.fetch(request))
    const call = caller((path, init) => fetch(url + path, init))
    const sized = (size: number) => `{"kind":"a","args":"${'x'.repeat(size - 22)}"}`
    expect((await call('POST', '/api/jobs', { body: sized(1_000) })).status).toBe(201)
    expect(await call('POST', '/api/jobs', { body: sized(1_001) })).toMatchObject({
      status: 413,
      body: { error: { code: 'body_too_large' } },
    })
    const endless = new ReadableStream({ pull: controller => controller.enqueue(new Uint8Array(500)) })
    const headers = { ...json, authorization: `Bearer ${KEYS.all}` }
    // The server may answer, or hang up on a sender that does not stop.
    const status = await fetch(`${url}/api/jobs`, {
      method: 'POST',
      headers,
      body: endless,
      duplex: 'half',
    } as RequestInit).then(
      response => response.status,
      () => 413,
    )
    expect(status).toBe(413)
  })
})

it('no request of a holder of a key breaks the app: it is done, or refused for what is wrong with it', async () => {
  await enqueue(api.sql, 3)
  const id = fc.oneof(fc.integer({ min: 0, max: 20 }), fc.stringMatching(/^[0-9]{1,20}$/), fc.string(), fc.constant(-1))
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc.constantFrom('default', 'failed', 'a'.repeat(201), '\0', '\ud800'),
  )
  const number = fc.oneof(fc.integer({ min: -2, max: 6 }), fc.double(), fc.constantFrom(1e300, 2 ** 53, -0))
  const value = fc.oneof(
    text,
    number,
    fc.boolean(),
    fc.constant(null),
    fc.array(id, { maxLength: 3 }),
    fc.array(text, { maxLength: 3 }),
    fc.jsonValue({ maxDepth: 2 }),
  )
  const names = [
    ...[
      'kind',
      'args',
      'queue',
      'priority',
      'run_at',
      'delay_seconds',
      'max_attempts',
      'tags',
      'metadata',
      'ordering_key',
      'rate_key',
    ],
    ...[
      'unique',
      'debounce',
      'throttle',
      'jobs',
      'ids',
      'reason',
      'filter',
      'params',
      'operation',
      'by',
      'all',
      'state',
      'unique_key',
    ],
    ...[
      'limit',
      'cursor',
      'id',
      'full',
      'wait_seconds',
      'enqueued_after',
      'seconds',
      'key',
      '__proto__',
      'constructor',
    ],
  ]
  const named = fc.constantFrom(...names)
  const flat = fc.dictionary(named, value, { maxKeys: 4 })
  const object = fc.dictionary(named, fc.oneof(value, flat, fc.array(flat, { maxLength: 2 })), { maxKeys: 6 })
  const wellMeant = fc
    .tuple(object, fc.constantFrom('a', 'b'), flat)
    .map(([rest, kind, filter]) => ({ ...rest, kind, filter, ids: [1] }))
  const requests = fc.record({
    operation: fc.constantFrom(...operations),
    name: fc.oneof(id, text),
    query: fc.array(fc.tuple(named, fc.oneof(text, number.map(String))), { maxLength: 3 }),
    body: fc.oneof(
      object,
      wellMeant,
      object.map(({ kind: _, ...rest }) => ({ kind: 'a', ...rest })),
    ),
    idempotencyKey: fc.option(fc.stringMatching(/^[ -~]{0,20}$/), { nil: undefined, freq: 3 }),
  })
  await fc.assert(
    fc.asyncProperty(requests, async ({ operation: { method, path }, name, query, body, idempotencyKey }) => {
      const search = new URLSearchParams(query.filter(([name]) => name !== 'wait_seconds')).toString()
      const segment = encodeURIComponent(String(name).toWellFormed()).replace(/^\.+$|^$/, 'x')
      const headers = { ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }) }
      const url = `${path.replace(/\{\w+\}/, segment)}${search && `?${search}`}`
      const { status } = await call(method, url, { headers, ...(method === 'POST' && { body }) })
      expect([200, 201, 400, 404, 409]).toContain(status)
    }),
    { numRuns: 600 },
  )
  expect((await call('GET', '/readyz')).status).toBe(200)
})

describe('a database that', () => {
  it('is away is a 503 that says nothing of it, and an event that does', async () => {
    const sql = postgres('postgres://nobody:secret@127.0.0.1:1/none', { connect_timeout: 1, max: 1 })
    onTestFinished(() => sql.end({ timeout: 0 }))
    const { call, events } = makeApi({ sql })
    for (const [method, path, body] of [
      ['GET', '/api/jobs', undefined],
      ['GET', '/api/jobs/1?wait_seconds=1', undefined],
      ['POST', '/api/jobs', { kind: 'a' }],
      ['GET', '/readyz', undefined],
    ] as const) {
      const answer = await call(method, path, { body })
      expect(answer).toMatchObject({ status: 503, body: { error: { code: 'unavailable' } } })
      expect(answer.headers.get('retry-after')).toBe('1')
      expect(JSON.stringify(answer.body)).not.toMatch(/127\.0\.0\.1|ECONN|nobody|select/)
    }
    expect(events).toHaveLength(4)
    expect(events[0]).toMatchObject({ status: 503, code: 'unavailable', cause: { code: 'ECONNREFUSED' } })
  })

  it('does not let the API at its tables is a 503 too', async () => {
    await api.sql`create role api_stranger`
    onTestFinished(async () => void (await api.sql`drop role api_stranger`))
    const connection = postgres(api.url, { max: 1, onnotice: () => undefined })
    onTestFinished(() => connection.end())
    await connection`set role api_stranger`
    const answer = await makeApi({ sql: connection }).call('GET', '/api/jobs')
    expect(answer).toMatchObject({ status: 503, body: { error: { code: 'unavailable' } } })
    expect(JSON.stringify(answer.body)).not.toMatch(/permission|millrace|api_stranger/)
  })
})
