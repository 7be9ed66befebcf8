// The transports: one POST, one answer, and whether a failed request can have been seen by the function.

import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { type DispatchRequest, fetchTransport, type Transport, TransportError } from 'millrace/maintenance'
import { describe, expect, onTestFinished, test } from 'vitest'
import { undiciTransport } from '../../functions/node/undici-transport.ts'

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)

const requestTo = (origin: string, changes: Partial<DispatchRequest> = {}): DispatchRequest => ({
  origin,
  path: '/jobs?tenant=7',
  headers: { 'content-type': 'application/json', 'x-mine': 'yes' },
  body: encode('{"job_id":1}'),
  timeoutMs: 10_000,
  signal: new AbortController().signal,
  ...changes,
})

async function listening(server: Server | ReturnType<typeof createTcpServer>): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    if ('closeAllConnections' in server) server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const serve = (answer: (request: IncomingMessage, response: ServerResponse) => unknown): Promise<string> =>
  listening(createServer(answer))

function undici(options?: { connections?: number }): Transport {
  const transport = undiciTransport({ allow: ['loopback'], ...options })
  onTestFinished(() => transport.end())
  return transport
}

/** The error that a POST ends with. */
const failureOf = async (posted: Promise<unknown>): Promise<TransportError> => {
  const error = await posted.then(
    answer => new Error(`answered ${JSON.stringify(answer)}`),
    error => error,
  )
  expect(error).toBeInstanceOf(TransportError)
  return error as TransportError
}

describe.each<[string, () => Transport]>([
  ['undici', undici],
  ['fetch', () => fetchTransport({ allow: ['loopback'] })],
])('%s', (_, transportOf) => {
  test('carries method, path with query, headers and the exact body, and brings the answer back', async () => {
    const seen: unknown[] = []
    const url = await serve(async (request, response) => {
      const body = (await buffer(request)).toString()
      seen.push([request.method, request.url, request.headers['x-mine'], request.headers['content-length'], body])
      response.writeHead(201, { 'Retry-After': '3', 'content-type': 'text/plain' }).end('grüße')
    })
    const answer = await transportOf().post(requestTo(url))
    expect(seen).toEqual([['POST', '/jobs?tenant=7', 'yes', '12', '{"job_id":1}']])
    expect(answer).toMatchObject({ status: 201, body: 'grüße', truncated: false })
    expect(answer.header('retry-after')).toBe('3')
    expect(answer.header('x-none')).toBeUndefined()
  })

  test.each([204, 400, 404, 429, 500, 503])('a %i is an answer, not an error', async status => {
    const url = await serve((_, response) => response.writeHead(status).end())
    expect(await transportOf().post(requestTo(url))).toMatchObject({ status, body: '' })
  })

  test('redirects are not followed', async () => {
    let calls = 0
    const url = await serve((_, response) => {
      calls++
      response.writeHead(307, { location: '/elsewhere' }).end()
    })
    expect(await transportOf().post(requestTo(url))).toMatchObject({ status: 307 })
    expect(calls).toBe(1)
  })

  test('an answer without end is cut off, and its connection closed', async () => {
    const closed = Promise.withResolvers<void>()
    const url = await serve((_, response) => {
      response.once('close', closed.resolve)
      const more = () => {
        while (!response.destroyed && response.write('x'.repeat(65_536)));
      }
      response.on('drain', more)
      more()
    })
    const answer = await transportOf().post(requestTo(url))
    expect(answer).toMatchObject({ status: 200, truncated: true })
    expect(answer.body.length).toBeLessThanOrEqual(1024 * 1024)
    await closed.promise
  })

  test('a reset after the request was read: it was seen', async () => {
    const url = await serve(async (request, response) => {
      await buffer(request)
      response.destroy()
    })
    expect(await failureOf(transportOf().post(requestTo(url)))).toMatchObject({ code: 'connection_lost', sent: true })
  })

  test('an answer that breaks off in the middle is none', async () => {
    const url = await serve((_, response) => {
      response.writeHead(200, { 'content-length': 100 })
      response.write('half', () => response.destroy())
    })
    expect(await failureOf(transportOf().post(requestTo(url)))).toMatchObject({ code: 'connection_lost', sent: true })
  })

  test('an answer that is not HTTP is none', async () => {
    const url = await listening(createTcpServer(socket => socket.on('error', () => undefined).end('hello\r\n\r\n')))
    expect(await failureOf(transportOf().post(requestTo(url)))).toMatchObject({ code: 'connection_lost', sent: true })
  })

  test('no answer within the time-out: it may have been seen', async () => {
    const given = Promise.withResolvers<void>()
    const url = await serve((request, response) => {
      response.once('close', given.resolve)
      request.resume()
    })
    const error = await failureOf(transportOf().post(requestTo(url, { timeoutMs: 50 })))
    expect(error).toMatchObject({ code: 'timeout', sent: true })
    expect(error.message).toContain('50 ms')
    await given.promise
  })

  test('the time-out covers the body too', async () => {
    const url = await serve((_, response) => void response.writeHead(200).write('beginning'))
    expect(await failureOf(transportOf().post(requestTo(url, { timeoutMs: 100 })))).toMatchObject({ code: 'timeout' })
  })

  test('the dispatcher can give a request up', async () => {
    const abort = new AbortController()
    const closed = Promise.withResolvers<void>()
    const url = await serve((_, response) => {
      response.once('close', closed.resolve)
      abort.abort()
    })
    const error = await failureOf(transportOf().post(requestTo(url, { signal: abort.signal })))
    expect(error).toMatchObject({ code: 'aborted', sent: true })
    await closed.promise
  })
})

describe('undici knows when a request cannot have been seen', () => {
  test('nobody listens', async () => {
    const server = createTcpServer()
    const url = await listening(server)
    await new Promise(closed => server.close(closed))
    const error = await failureOf(undici().post(requestTo(url)))
    expect(error).toMatchObject({ code: 'connect', sent: false })
    expect(error.message).toContain('ECONNREFUSED')
  })

  test('no such host', async () => {
    const error = await failureOf(undici().post(requestTo('http://millrace.invalid')))
    expect(error).toMatchObject({ code: 'connect', sent: false })
  })

  test('no TLS where it was expected', async () => {
    const url = await serve((_, response) => response.end())
    const error = await failureOf(undici().post(requestTo(url.replace('http:', 'https:'))))
    expect(error).toMatchObject({ code: 'connect', sent: false })
  })

  test('it was given up before it began', async () => {
    let calls = 0
    const url = await serve((_, response) => {
      calls++
      response.end()
    })
    const error = await failureOf(undici().post(requestTo(url, { signal: AbortSignal.abort() })))
    expect(error).toMatchObject({ code: 'aborted', sent: false })
    expect(calls).toBe(0)
  })

  test('it holds what HTTP cannot carry', async () => {
    let calls = 0
    const url = await serve((_, response) => {
      calls++
      response.end()
    })
    const error = await failureOf(undici().post(requestTo(url, { headers: { 'x-mine': 'two\nlines' } })))
    expect(error.sent).toBe(false)
    expect(calls).toBe(0)
  })

  // To become a plain test with the fix: today undici sends it all the same, once the connection is free.
  test('it waited for a connection until its time was over: then it is never sent', async () => {
    const bodies: string[] = []
    const first = Promise.withResolvers<ServerResponse>()
    const url = await serve(async (request, response) => {
      bodies.push((await buffer(request)).toString())
      if (bodies.length === 1) first.resolve(response)
      else response.end()
    })
    const transport = undici({ connections: 1 })
    const answered = transport.post(requestTo(url, { body: encode('1') }))
    const response = await first.promise
    const late = await failureOf(transport.post(requestTo(url, { body: encode('2'), timeoutMs: 50 })))
    expect(late).toMatchObject({ code: 'timeout', sent: false })
    response.end()
    await answered
    await transport.post(requestTo(url, { body: encode('3') }))
    expect(bodies).toEqual(['1', '3'])
  })
})

/** Counts the connections that are made to it. */
async function countingServer() {
  const server = createServer((request, response) => request.resume().on('end', () => response.end('ok')))
  const sockets: Socket[] = []
  server.on('connection', (socket: Socket) => sockets.push(socket))
  return { url: await listening(server), sockets }
}

test('connections are used again', async () => {
  const { url, sockets } = await countingServer()
  const transport = undici()
  for (let n = 0; n < 10; n++) await transport.post(requestTo(url))
  expect(sockets.length).toBeLessThanOrEqual(2)
})

test('a connection that the server closed in between is replaced; a request caught by that may have been seen', async () => {
  const { url, sockets } = await countingServer()
  const transport = undici()
  await transport.post(requestTo(url))
  for (const socket of sockets) socket.destroy()
  const next = await transport.post(requestTo(url)).catch(error => error)
  if (next instanceof Error) expect(next).toMatchObject({ code: 'connection_lost', sent: true })
  else expect(next).toMatchObject({ status: 200 })
  expect(await transport.post(requestTo(url))).toMatchObject({ status: 200, body: 'ok' })
})
