// Rates per client and per token: who is put off, who is not, and how much memory that takes.

import type { IncomingMessage } from 'node:http'
import { toSql } from 'millrace'
import { apiApp } from 'millrace/api'
import { callbacks, type RequestLimitsOptions, requestLimits, SqlEngine } from 'millrace/callbacks'
import { defineKind, handle, serve } from 'millrace/function'
import { clientAddress } from 'millrace/node'
import { callbackIdOf, deriveDispatchKeyring, eventKey, eventToken, formatKeyring } from 'millrace/protocol'
import * as v from 'valibot'
import { describe, expect, test } from 'vitest'
import { TokenBuckets } from '../core/token-buckets.ts'
import { apiKeys, KEYS } from './support/api.ts'
import { useDatabase } from './support/database.ts'
import { listen } from './support/http-server.ts'
import { attempt, attempts, boundHeaders, keyring } from './support/ingress.ts'
import { freshDatabase } from './support/maintenance.ts'

const database = useDatabase()

const byName = (request: Request) => request.headers.get('x-client') ?? undefined
const ROOM = { perSecond: 1, burst: 2 }

function ingress(options: RequestLimitsOptions) {
  let now = 0
  const limits = requestLimits({ clientOf: byName, now: () => now, ...options })
  const app = callbacks({ store: new SqlEngine(toSql(database.sql)), keyring, limits })
  const post = (path: string, { body = '', ...headers }: Record<string, string> = {}) =>
    app.request(path, { method: 'POST', body, headers })
  const pass = (ms: number) => {
    now += ms
  }
  return { app, post, pass }
}

const forged = (post: ReturnType<typeof ingress>['post'], client: string) =>
  post('/api/callbacks/k1.0.1.1/complete', { 'x-client': client })

const statuses = async (requests: (() => Promise<Response> | Response)[]): Promise<number[]> => {
  const seen: number[] = []
  for (const request of requests) seen.push((await request()).status)
  return seen
}

describe('the ingress', () => {
  test('puts a client off that asks too often, says for how long, and nobody else', async () => {
    const { app, post, pass } = ingress({ requests: ROOM })
    const ask = (client: string) => () => forged(post, client)
    expect(await statuses([ask('a'), ask('a'), ask('b')])).toEqual([401, 401, 401])
    const refused = await forged(post, 'a')
    expect(refused.status).toBe(429)
    expect(refused.headers.get('retry-after')).toBe('1')
    expect(await refused.json()).toEqual({ error: 'Too many requests, try again later', code: 'too_many_requests' })
    expect((await app.request('/healthz', { headers: { 'x-client': 'a' } })).status).toBe(200)
    pass(1_000)
    expect(await statuses([ask('a'), ask('a')])).toEqual([401, 429])
  })

  test('puts those off that guess, while what is rightly signed passes from the same address', async () => {
    const { post } = ingress({ refused: ROOM })
    const ref = await attempt(database.sql)
    const id = callbackIdOf(keyring, ref)
    const guess = () => forged(post, 'a')
    const elsewhere = () => post('/wp-login.php', { 'x-client': 'a' })
    expect(await statuses([guess, elsewhere, guess, elsewhere])).toEqual([401, 404, 429, 429])
    const rightly = await post(`/api/callbacks/${id}/complete`, { 'x-client': 'a', ...boundHeaders(id, 'complete') })
    expect(rightly.status).toBe(200)
    expect((await forged(post, 'b')).status).toBe(401)
  })

  test('does not count what was right once: an old signature, an attempt that has ended', async () => {
    const { post } = ingress({ refused: ROOM })
    const id = callbackIdOf(keyring, await attempt(database.sql))
    const old = boundHeaders(id, 'complete', { now: Date.now() - 400_000 })
    const stale = () => post(`/api/callbacks/${id}/complete`, { 'x-client': 'a', ...old })
    expect(await statuses([stale, stale, stale, stale])).toEqual([401, 401, 401, 401])
    expect(await statuses([() => forged(post, 'a')])).toEqual([401])
  })

  test('limits what one event token may send', async () => {
    const { post } = ingress({ events: ROOM })
    const refs = await attempts(database.sql, 2)
    const [one, other] = refs.map(({ id }) => eventToken(eventKey(keyring.keys[0], id), id, 'paid'))
    const send = (token?: string) => () => post(`/api/events/${token}`)
    expect(await statuses([send(one), send(one), send(one), send(other)])).toEqual([200, 200, 429, 200])
  })

  test('limits nothing where that is switched off, or nobody says who asks', async () => {
    const off = ingress({ requests: false, refused: false, events: false })
    const unknown = ingress({ requests: ROOM, refused: ROOM, clientOf: () => undefined })
    const many = Array.from({ length: 20 }, () => 0)
    for (const { post } of [off, unknown]) {
      expect(new Set(await statuses(many.map(() => () => forged(post, 'a'))))).toEqual(new Set([401]))
    }
  })

  test('holds no more bodies in memory than it has room for', async () => {
    const { app, post } = ingress({ bodyBytes: 1_000 })
    const id = callbackIdOf(keyring, await attempt(database.sql))
    const body = JSON.stringify({ payload: 'x'.repeat(600) })
    const headers = boundHeaders(id, 'complete', { body })
    // A slow one holds its share until it is over.
    const slow = new TransformStream<Uint8Array, Uint8Array>()
    const writer = slow.writable.getWriter()
    const begun = Promise.resolve(
      app.request(`/api/callbacks/${id}/complete`, {
        method: 'POST',
        body: slow.readable,
        headers,
        duplex: 'half',
      } as RequestInit),
    )
    await writer.write(new TextEncoder().encode(body))
    const refused = await post(`/api/callbacks/${id}/complete`, { body, ...headers })
    expect(refused.status).toBe(503)
    expect(refused.headers.get('retry-after')).toBe('1')
    await writer.close()
    expect((await begun).status).toBe(200)
    expect((await post(`/api/callbacks/${id}/complete`, { body, ...headers })).status).toBe(200)
  })

  test('is not made with a limit that lets nothing through', () => {
    for (const rate of [
      { perSecond: 0, burst: 1 },
      { perSecond: 1, burst: 0 },
      { perSecond: Number.NaN, burst: 1 },
    ]) {
      expect(() => requestLimits({ requests: rate })).toThrow(/lets nothing through/)
    }
  })
})

describe('the API', () => {
  const api = (options: RequestLimitsOptions) => {
    const limits = requestLimits({ clientOf: byName, now: () => 0, ...options })
    const app = apiApp({ sql: database.sql, apiKeys, limits })
    return (key: string, client: string, path = '/api/queues') =>
      app.request(path, { headers: { authorization: `Bearer ${key}`, 'x-client': client } })
  }

  test('puts clients off that ask too often, in its own form', async () => {
    const ask = api({ requests: ROOM })
    expect(await statuses([() => ask(KEYS.all, 'a'), () => ask(KEYS.all, 'a')])).toEqual([200, 200])
    const refused = await ask(KEYS.all, 'a')
    expect(refused.status).toBe(429)
    expect(refused.headers.get('retry-after')).toBe('1')
    expect(refused.headers.get('cache-control')).toBe('no-store')
    expect(await refused.json()).toMatchObject({ error: { code: 'too_many_requests' } })
    expect((await ask(KEYS.all, 'b')).status).toBe(200)
  })

  test('puts those off that guess keys, not those who have one', async () => {
    const ask = api({ refused: ROOM })
    const guess = () => ask('mk_guess', 'a')
    const right = () => ask(KEYS.read, 'a')
    expect(await statuses([guess, guess, guess, right, guess])).toEqual([401, 401, 429, 200, 429])
  })

  test('refuses long URLs', async () => {
    const answer = await api({})(KEYS.all, 'a', `/api/jobs?kind=${'x'.repeat(40_000)}`)
    expect(answer.status).toBe(414)
    expect(await answer.json()).toMatchObject({ error: { code: 'url_too_long' } })
  })
})

test('a function whose callbacks are put off loses nothing', async () => {
  const { declare, enqueueMany, maintain, engine, sql } = await freshDatabase()
  const limits = requestLimits({ clientOf: () => 'all', requests: { perSecond: 20, burst: 1 } })
  const outcomes: number[] = []
  const app = callbacks({
    store: new SqlEngine(toSql(sql)),
    keyring,
    limits,
    onEvent: ({ status }) => outcomes.push(status),
  })
  const callbackUrl = await listen(request => app.fetch(request))
  const work = defineKind({ name: 'work', args: v.any() })
  const receiver = serve({
    kinds: [handle(work, async () => ({ done: true }))],
    dispatchKeys: formatKeyring(deriveDispatchKeyring(keyring)),
  })
  const url = await listen(request => receiver.fetch(request))
  await declare([{ name: 'work', target: { url, mode: 'callback' }, maxAttempts: 1 }])
  const maintenance = await maintain({ callbackUrl })
  const ids = await enqueueMany('work', 5)
  for (const id of ids) await settled(id)
  expect(outcomes).toContain(429)
  expect(maintenance.events.of({ type: 'error' })).toEqual([])

  /** The ingress closes it, so nothing tells of it here. */
  async function settled(id: string): Promise<void> {
    for (;;) {
      const job = await engine.job(id)
      if (job?.state === 'completed') return
      expect(job?.state).not.toBe('failed')
      await new Promise(setImmediate)
    }
  }
})

describe('buckets', () => {
  test('are a fixed number, those used least lately go', () => {
    const buckets = new TokenBuckets(ROOM, { buckets: 3, now: () => 0 })
    for (let n = 0; n < 1_000; n++) buckets.take(`client ${n}`)
    expect(buckets.size).toBe(3)
    buckets.take('client 998')
    expect(buckets.take('client 998')).toBeGreaterThan(0)
    for (const other of ['a', 'b', 'c']) buckets.take(other)
    expect(buckets.take('client 998')).toBe(0)
  })

  test('fill up with the time, to the brim and no further, and say when', () => {
    let now = 0
    const buckets = new TokenBuckets({ perSecond: 2, burst: 2 }, { now: () => now })
    const take = () => buckets.take('a')
    expect([take(), take(), take()]).toEqual([0, 0, 500])
    now += 500
    expect([take(), take()]).toEqual([0, 500])
    now += 60_000
    expect([take(), take(), take()]).toEqual([0, 0, 500])
  })
})

describe('a client is', () => {
  const at = (remoteAddress: string | undefined, forwarded?: string, proxies?: number) =>
    clientAddress(proxies)(
      new Request('http://x', { headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded } }),
      { incoming: { socket: { remoteAddress } } as IncomingMessage },
    )

  test.each([
    ['the other end of the connection', '192.0.2.1', undefined, 0, '192.0.2.1'],
    ['the same as IPv4 in IPv6', '::ffff:192.0.2.1', undefined, 0, '192.0.2.1'],
    ['a network of IPv6', '2001:db8:1:2:3:4:5:6', undefined, 0, '2001:db8:1:2::/64'],
    ['not what a stranger says', '192.0.2.1', '198.51.100.1', 0, '192.0.2.1'],
    ['what a trusted proxy says', '192.0.2.1', '198.51.100.1', 1, '198.51.100.1'],
    ['not what was said to the proxy', '192.0.2.1', '10.0.0.1, 198.51.100.1', 1, '198.51.100.1'],
    ['what the outermost of two proxies says', '192.0.2.1', '10.0.0.1, 198.51.100.1, 192.0.2.2', 2, '198.51.100.1'],
    ['the outermost there is, where there are fewer', '192.0.2.1', '198.51.100.1', 3, '198.51.100.1'],
    ['the connection, where the proxy says nothing', '192.0.2.1', undefined, 1, '192.0.2.1'],
    ['the connection, where the proxy says nonsense', '192.0.2.1', 'nobody', 1, '192.0.2.1'],
    ['without the port', '192.0.2.1', '198.51.100.1:4711', 1, '198.51.100.1'],
    ['nobody where there is no connection', undefined, undefined, 0, undefined],
  ])('%s', (_, remote, forwarded, proxies, expected) => {
    expect(at(remote, forwarded, proxies)).toBe(expected)
  })
})
