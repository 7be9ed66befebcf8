// The callback ingress against those who should get nowhere: forgers, and bodies made to break it.

import fc from 'fast-check'
import { toSql } from 'millrace'
import { callbacks } from 'millrace/callbacks'
import { callbackIdOf } from 'millrace/protocol'
import { describe, expect, test } from 'vitest'
import type { AttemptRef } from '../core/engine.ts'
import { SqlEngine } from '../core/sql-engine.ts'
import { useDatabase } from './support/database.ts'
import { attempt, boundHeaders, echoedHeaders, keyring, startIngress } from './support/ingress.ts'

const database = useDatabase()
const start = (options = {}) => startIngress(toSql(database.sql), options)
const next = (): Promise<AttemptRef> => attempt(database.sql)
const state = async ({ id }: AttemptRef) => (await new SqlEngine(toSql(database.sql)).job(id))?.state

describe('forgeries', () => {
  test('are all answered alike, whether the attempt exists or not, and change nothing', async () => {
    const [{ call }, ref, other] = [await start(), await next(), await next()]
    const [id, otherId] = [callbackIdOf(keyring, ref), callbackIdOf(keyring, other)]
    const answers = await Promise.all([
      call(id, 'complete', { headers: {} }),
      call(id, 'complete', { headers: boundHeaders(otherId, 'complete') }),
      call(id, 'complete', { headers: boundHeaders(id, 'fail') }),
      call(id, 'complete', { headers: boundHeaders(id, 'complete'), body: { payload: 'else' } }),
      call(id, 'complete', { headers: echoedHeaders(otherId) }),
      call(id, 'complete', { headers: { 'x-awa-signature': 'zz' } }),
      call(id, 'complete', { headers: { ...echoedHeaders(id), 'millrace-signature': 't=1,v1=' } }),
      call(id.replace('k1', 'k9'), 'complete'),
      call(id.replace('k1', 'k0'), 'complete'),
      call(id.replace(/\d+$/, '7'), 'complete', { headers: boundHeaders(id, 'complete') }),
      call('k1.0.99999999.1', 'complete', { headers: {} }),
      call('550e8400-e29b-41d4-a716-446655440000', 'complete', { headers: {} }),
      call(id.replace(/1$/, '%31'), 'complete', { headers: boundHeaders(id, 'complete') }),
    ])
    const bodies = new Set(answers.map(({ status, body }) => JSON.stringify([status, body])))
    expect([...bodies]).toEqual(['[401,{"error":"Not a signed callback","code":"invalid_signature"}]'])
    expect(await state(ref)).toBe('running')
  })

  test('a signature wears out, which only its rightful maker is told', async () => {
    const [{ call }, ref] = [await start(), await next()]
    for (const now of [Date.now() - 302_000, Date.now() + 302_000]) {
      expect(await call(ref, 'complete', { now })).toMatchObject({ status: 401, body: { code: 'stale_timestamp' } })
      const headers = boundHeaders(callbackIdOf(keyring, ref), 'fail', { now })
      expect(await call(ref, 'complete', { headers })).toMatchObject({ body: { code: 'invalid_signature' } })
    }
  })

  test('the bearer header can be switched off', async () => {
    const [{ call }, ref] = [await start({ compatible: false }), await next()]
    expect((await call(ref, 'complete', { headers: echoedHeaders(callbackIdOf(keyring, ref)) })).status).toBe(401)
    expect((await call(ref, 'complete')).status).toBe(200)
  })

  test('no request without the keys is ever taken, nor does any break the ingress', async () => {
    const app = callbacks({ store: new SqlEngine(toSql(database.sql)), keyring })
    const id = fc.oneof(fc.stringMatching(/^k[01]\.[0-9]{1,20}\.[0-9]{1,20}\.[0-9]{1,11}$/), fc.webSegment())
    const header = fc.oneof(fc.stringMatching(/^t=17[0-9]{8},v1=[0-9a-f]{64}$/), fc.stringMatching(/^[!-~]*$/))
    const requests = fc.record({
      id,
      action: fc.constantFrom('complete', 'fail', 'heartbeat', 'Complete', '', 'x'),
      method: fc.constantFrom('POST', 'GET', 'DELETE', 'PATCH'),
      headers: fc.dictionary(fc.constantFrom('millrace-signature', 'x-awa-signature', 'content-length'), header),
      body: fc.oneof(fc.string(), fc.json()),
    })
    await fc.assert(
      fc.asyncProperty(requests, async ({ id, action, method, headers, body }) => {
        const url = `http://localhost/api/callbacks/${id}/${action}`
        const response = await app.request(url, { method, headers, ...(method !== 'GET' && { body }) })
        expect([401, 404, 405]).toContain(response.status)
      }),
      { numRuns: 300 },
    )
  })
})

describe('bodies, rightly signed', () => {
  test.each([
    ['text that is not JSON', 'complete', '{', 400],
    ['bare words', 'complete', 'payload', 400],
    ['a list', 'complete', '[]', 422],
    ['null', 'complete', 'null', 422],
    ['a number', 'heartbeat', '1', 422],
    ['a payload with NUL', 'complete', '{"payload":"\\u0000"}', 422],
    ['a key with NUL', 'complete', '{"payload":{"\\u0000":1}}', 422],
    ['half a surrogate pair', 'complete', '{"payload":["\\ud800"]}', 422],
    ['a number beyond all numbers', 'complete', '{"payload":1e999}', 422],
    ['deep nesting', 'complete', `{"payload":${'['.repeat(500_000)}${']'.repeat(500_000)}}`, 422],
    ['nesting without end', 'complete', '['.repeat(1_000_000), 422],
    ['fail without a body', 'fail', '', 422],
    ['an error that is no text', 'fail', '{"error":{}}', 422],
    ['retryable as text', 'fail', '{"error":"e","retryable":"true"}', 422],
    ['a negative retry_after_seconds', 'fail', '{"error":"e","retryable":true,"retry_after_seconds":-1}', 422],
    ['retry_after_seconds of a final failure', 'fail', '{"error":"e","retry_after_seconds":1}', 422],
    ['no time at all', 'heartbeat', '{"timeout_seconds":0}', 422],
    ['negative time', 'heartbeat', '{"timeout_seconds":-1}', 422],
    ['more than 30 days', 'heartbeat', '{"timeout_seconds":2592001}', 422],
    ['a huge time', 'heartbeat', '{"timeout_seconds":1e308}', 422],
    ['endless time', 'heartbeat', '{"timeout_seconds":1e999}', 422],
    ['time as text', 'heartbeat', '{"timeout_seconds":"60"}', 422],
    ['progress as a number', 'heartbeat', '{"progress":50}', 422],
    ['percent as text', 'heartbeat', '{"progress":{"percent":"50"}}', 422],
    ['progress metadata as a list', 'heartbeat', '{"progress":{"metadata":[]}}', 422],
  ] as const)('%s is refused and changes nothing', async (_, action, body, status) => {
    const [{ call }, ref] = [await start(), await next()]
    expect(await call(ref, action, { body })).toMatchObject({ status, body: { code: 'invalid_request' } })
    expect(await state(ref)).toBe('running')
  })

  test.each(['{"timeout_seconds":0.001}', '{"timeout_seconds":2592000}', '{"timeout_seconds":5e-324}'])(
    'a heartbeat of %s is taken',
    async body => {
      const [{ call }, ref] = [await start(), await next()]
      expect((await call(ref, 'heartbeat', { body })).status).toBe(200)
    },
  )

  test('bytes that are not UTF-8 are refused', async () => {
    const [{ url }, ref] = [await start({ allowUnsigned: true }), await next()]
    const target = `${url}/api/callbacks/${callbackIdOf(keyring, ref)}/complete`
    const body = new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d])
    expect((await fetch(target, { method: 'POST', body })).status).toBe(400)
  })

  test('as large as the limit are taken, larger ones are not, whatever their length is said to be', async () => {
    const [{ call, url }, ref] = [await start({ maxBodyBytes: 1000 }), await next()]
    const sized = (size: number) => JSON.stringify({ payload: 'x'.repeat(size - 14) })
    expect(await call(ref, 'complete', { body: sized(1001) })).toMatchObject({
      status: 413,
      body: { code: 'body_too_large' },
    })
    const callbackId = callbackIdOf(keyring, ref)
    const endless = new ReadableStream({ pull: controller => controller.enqueue(new Uint8Array(500)) })
    const headers = boundHeaders(callbackId, 'complete')
    const streamed = { method: 'POST', headers, body: endless, duplex: 'half' } as RequestInit
    // The server may answer, or hang up on a sender that does not stop.
    const status = await fetch(`${url}/api/callbacks/${callbackId}/complete`, streamed).then(
      response => response.status,
      () => 413,
    )
    expect(status).toBe(413)
    expect(await call(ref, 'complete', { body: sized(1000) })).toMatchObject({ status: 200 })
  })
})
