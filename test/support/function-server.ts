// Functions as plain HTTP servers that know nothing of Millrace but what arrives, and do with the connection what they like.

import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'
import { Recorder } from './maintenance-recorder.ts'

/** What a dispatch looks like to a function written for Awa. */
export interface Dispatched {
  readonly job_id: number
  readonly kind: string
  readonly args: unknown
  readonly attempt: number
  readonly max_attempts: number
  readonly callback_id?: string
  readonly callback_url?: string
}

export interface Received {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Dispatched
  readonly text: string
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

export interface Answer {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body?: string | object
}

/** Answers, or undefined to leave the response to itself. */
export type Behaviour = (received: Received, nth: number) => Answer | undefined | Promise<Answer | undefined>

/** Serves until the test is over. `mostAtOnce` tells how many requests were open at the same time at most. */
export async function startFunctionServer(behaviour: Behaviour = () => ({})) {
  const received = new Recorder<Received>()
  let open = 0
  let mostAtOnce = 0
  const server = createServer(async (request, response) => {
    mostAtOnce = Math.max(mostAtOnce, ++open)
    response.once('close', () => open--)
    const raw = await text(request).catch(() => undefined)
    if (raw === undefined) return
    const { url: path = '/', headers } = request
    const one: Received = { path, headers, text: raw, body: JSON.parse(raw), request, response }
    received.push(one)
    const answer = await behaviour(one, received.all.length)
    if (answer) send(response, answer)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const stop = async () => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }
  onTestFinished(stop)
  return {
    url: `http://127.0.0.1:${port}`,
    received,
    server,
    stop,
    get mostAtOnce() {
      return mostAtOnce
    },
  }
}

export function send(response: ServerResponse, { status = 200, headers = {}, body = '' }: Answer): void {
  const isText = typeof body === 'string'
  const type: Record<string, string> = isText ? {} : { 'content-type': 'application/json' }
  response.writeHead(status, { ...type, ...headers }).end(isText ? body : JSON.stringify(body))
}

/** The bearer header, the way Awa's functions know it. */
const echo = ({ headers }: Received) => ({
  'content-type': 'application/json',
  'x-awa-signature': String(headers['x-awa-signature']),
})

/** Calls back as Awa's functions do: echoes the header; `complete` is given, `fail` and `heartbeat` are found by the id. */
export async function callBack(
  received: Received,
  action: 'complete' | 'fail' | 'heartbeat' = 'complete',
  body: object = {},
): Promise<{ status: number; body: Record<string, unknown> }> {
  const { callback_id: id = '', callback_url: url = '' } = received.body
  const base = url.slice(0, url.indexOf(id))
  const target = action === 'complete' ? url : `${base}${id}/${action}`
  const response = await fetch(target, { method: 'POST', headers: echo(received), body: JSON.stringify(body) })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}
