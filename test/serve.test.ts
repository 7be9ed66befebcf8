// The Node server around ingress and API: what it answers to requests that are none, too slow, too large, or too many.

import { toSql } from 'millrace'
import { callbacks, SqlEngine } from 'millrace/callbacks'
import { type ServeNodeOptions, serveNode } from 'millrace/node'
import { expect, onTestFinished, test } from 'vitest'
import { useDatabase } from './support/database.ts'
import { keyring } from './support/ingress.ts'
import { exchange } from './support/raw-socket.ts'

const database = useDatabase()

async function start(options: Partial<ServeNodeOptions> = {}): Promise<string> {
  const app = callbacks({ store: new SqlEngine(toSql(database.sql)), keyring })
  const server = await serveNode(app.fetch, { port: 0, ...options })
  onTestFinished(() => server.close(0))
  return server.url
}

/** By a key that there is, so that the body has to be read. */
const SIGNED = `Millrace-Signature: t=1,v1=${'0'.repeat(64)}\r\n`
const HEAD = 'Host: x\r\nConnection: close\r\n'

test.each([
  ['no HTTP at all', 'hello\r\n\r\n', 400, 'invalid_request'],
  ['TLS', '\x16\x03\x01\x02\x00', 400, 'invalid_request'],
  ['no host', 'GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n', 400, 'invalid_request'],
  ['a host that is none', 'GET /healthz HTTP/1.1\r\nConnection: close\r\nHost: a/b\r\n\r\n', 400, 'invalid_request'],
  ['a path that is none', `GET healthz HTTP/1.1\r\n${HEAD}\r\n`, 400, 'invalid_request'],
  ['a control character in a header', `GET /healthz HTTP/1.1\r\n${HEAD}a: \x01\r\n\r\n`, 400, 'invalid_request'],
  ['two lengths', `POST / HTTP/1.1\r\n${HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`, 400, 'invalid_request'],
  [
    'a length and chunks',
    `POST / HTTP/1.1\r\n${HEAD}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
    400,
    'invalid_request',
  ],
  ['an expectation', `POST / HTTP/1.1\r\n${HEAD}Expect: a miracle\r\n\r\n`, 417, 'invalid_request'],
  ['a tunnel', `CONNECT db:5432 HTTP/1.1\r\n${HEAD}\r\n`, 405, 'method_not_allowed'],
  ['large headers', `GET /healthz HTTP/1.1\r\n${HEAD}a: ${'x'.repeat(20_000)}\r\n\r\n`, 431, 'headers_too_large'],
  ['many headers', `GET /healthz HTTP/1.1\r\n${HEAD}${'a: b\r\n'.repeat(120)}\r\n`, 431, 'headers_too_large'],
  ['a long URL', `GET /${'x'.repeat(5_000)} HTTP/1.1\r\n${HEAD}\r\n`, 414, 'url_too_long'],
  ['TRACE', `TRACE /api/callbacks/a/complete HTTP/1.1\r\n${HEAD}\r\n`, 405, 'method_not_allowed'],
  ['OPTIONS for all', `OPTIONS * HTTP/1.1\r\n${HEAD}\r\n`, 400, 'invalid_request'],
  ['a path without a route', `GET /%ff%00/.. HTTP/1.1\r\n${HEAD}\r\n`, 404, 'not_found'],
])('%s is refused in the documented form', async (_, request, status, code) => {
  const reply = await exchange(await start(), Buffer.from(request, 'latin1'))
  expect(reply).toMatchObject({ status, body: expect.stringMatching(/^\{/) })
  expect(JSON.parse(reply.body)).toEqual({ error: expect.any(String), code })
  expect(reply.body).not.toMatch(/node|stack|\/work| {4}at /i)
  for (const [name, value] of [
    ['cache-control', 'no-store'],
    ['x-content-type-options', 'nosniff'],
    ['referrer-policy', 'no-referrer'],
  ] as const) {
    expect(reply.headers.get(name)).toBe(value)
  }
  expect(reply.headers.has('server') || reply.headers.has('x-powered-by')).toBe(false)
})

test('another app has its own form', async () => {
  const url = await start({ errorBody: (code, message) => ({ error: { code, message } }) })
  expect(JSON.parse((await exchange(url, 'x\r\n\r\n')).body)).toEqual({
    error: { code: 'invalid_request', message: expect.any(String) },
  })
})

test.each([
  ['headers', { headersSeconds: 0.2 }, ['POST / HTTP/1.1\r\nHost: x\r\n']],
  [
    'a body',
    { requestSeconds: 0.2, headersSeconds: 0.2 },
    [`POST /api/callbacks/k1.0.1.1/complete HTTP/1.1\r\nHost: x\r\n${SIGNED}Content-Length: 9\r\n\r\n`, '{'],
  ],
] as const)('%s that do not come to an end are given up', async (_, limits, pieces) => {
  const reply = await exchange(await start({ limits }), ...pieces)
  expect(reply.status).toBe(408)
  expect(JSON.parse(reply.body).code).toBe('request_timeout')
})

test('connections beyond the limit are hung up on', async () => {
  const url = await start({ limits: { connections: 1, headersSeconds: 1 } })
  const first = exchange(url, 'GET /healthz HTTP/1.1\r\n')
  // Accepted in the order in which they came.
  const second = await exchange(url, `GET /healthz HTTP/1.1\r\n${HEAD}\r\n`)
  expect(second.status).toBe(0)
  expect((await first).status).toBe(408)
})
