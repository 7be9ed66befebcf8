// Serves a Web fetch handler on Node, within limits, until it is asked to stop, and finishes what it has begun.

import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener, RequestError } from '@hono/node-server'
import { type ErrorBody, EXPECTATION, FAILED, MALFORMED, refuser, TOO_MANY_HEADERS } from './refused.ts'

export interface ServeNodeOptions {
  /** 127.0.0.1 unless given. */
  readonly host?: string | undefined
  /** Any free one for 0. */
  readonly port: number
  readonly limits?: ServeNodeLimits | undefined
  /** The body of an answer to what is no request at all; `{"error", "code"}`, as the ingress has it, unless given. */
  readonly errorBody?: ErrorBody | undefined
}

/** Each has a default that fits the ingress and the API; Node's own are longer and larger. */
export interface ServeNodeLimits {
  /** Of all headers with the request line: 16 KiB. */
  readonly headerBytes?: number | undefined
  /** How many headers: 100. */
  readonly headers?: number | undefined
  /** Until all headers are there: 10. */
  readonly headersSeconds?: number | undefined
  /** Until the whole body is there: 30. */
  readonly requestSeconds?: number | undefined
  /** Until an idle connection is closed: 75, longer than common proxies keep one. */
  readonly idleSeconds?: number | undefined
  /** At once, further ones are hung up on: 10,000. */
  readonly connections?: number | undefined
}

export interface Serving {
  readonly url: string
  /** Takes no new connections, lets running requests end, for at most `timeoutSeconds` (30), and resolves. */
  close(timeoutSeconds?: number): Promise<void>
}

type Fetch = (request: Request, env: object) => Response | Promise<Response>

/** How often Node looks for requests whose time is over. */
const CHECK_MS = 1_000
const HANG_UP_MS = 20

/** Resolves once the server listens; rejects when it cannot, as with a port that is taken. */
export async function serveNode(
  fetch: Fetch,
  { host = '127.0.0.1', port, limits, errorBody }: ServeNodeOptions,
): Promise<Serving> {
  const server = serverOf(fetch, limits, errorBody)
  server.listen(port, host)
  await once(server, 'listening')
  const { address, family, port: bound } = server.address() as AddressInfo
  const name = family === 'IPv6' ? `[${address}]` : address
  return { url: `http://${name}:${bound}`, close: (timeoutSeconds = 30) => close(server, timeoutSeconds) }
}

function serverOf(fetch: Fetch, limits: ServeNodeLimits = {}, errorBody?: ErrorBody): Server {
  const { headerBytes = 16 * 1024, headers = 100, headersSeconds = 10, requestSeconds = 30 } = limits
  const refuse = refuser(errorBody)
  const listener = getRequestListener(fetch, {
    // Neither a path nor a host that makes a URL; what an app throws, it answers itself.
    errorHandler: error => refuse.response(error instanceof RequestError ? MALFORMED : FAILED),
  })
  const options = {
    maxHeaderSize: headerBytes,
    headersTimeout: headersSeconds * 1_000,
    requestTimeout: requestSeconds * 1_000,
    keepAliveTimeout: (limits.idleSeconds ?? 75) * 1_000,
    connectionsCheckingInterval: CHECK_MS,
    // Without one the listener refuses it, in the app's form.
    requireHostHeader: false,
  }
  const server = createServer(options, (request, response) => {
    if (request.rawHeaders.length > 2 * headers) refuse.answer(TOO_MANY_HEADERS, request, response)
    else void listener(request, response)
  })
  server.maxConnections = limits.connections ?? 10_000
  server.on('clientError', refuse.hangUp)
  server.on('connect', refuse.tunnel)
  server.on('checkExpectation', (request, response) => refuse.answer(EXPECTATION, request, response))
  return server
}

async function close(server: Server, timeoutSeconds: number): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  // Node keeps a connection whose last answer is given for as long as any idle one.
  const hangingUp = setInterval(() => server.closeIdleConnections(), HANG_UP_MS)
  const timer = setTimeout(() => server.closeAllConnections(), timeoutSeconds * 1000)
  await closed
  clearInterval(hangingUp)
  clearTimeout(timer)
}
