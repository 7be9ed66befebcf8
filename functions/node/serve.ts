// Serves a Web fetch handler on Node until it is asked to stop, and finishes what it has begun.

import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'

export interface ServeNodeOptions {
  /** 127.0.0.1 unless given. */
  readonly host?: string | undefined
  /** Any free one for 0. */
  readonly port: number
}

export interface Serving {
  readonly url: string
  /** Takes no new connections, lets running requests end, for at most `timeoutSeconds` (30), and resolves. */
  close(timeoutSeconds?: number): Promise<void>
}

/** Resolves once the server listens; rejects when it cannot, as with a port that is taken. */
export async function serveNode(
  fetch: (request: Request) => Response | Promise<Response>,
  { host = '127.0.0.1', port }: ServeNodeOptions,
): Promise<Serving> {
  const server = createAdaptorServer({ fetch }) as Server
  server.listen(port, host)
  await once(server, 'listening')
  const { address, family, port: bound } = server.address() as AddressInfo
  const name = family === 'IPv6' ? `[${address}]` : address
  return { url: `http://${name}:${bound}`, close: (timeoutSeconds = 30) => close(server, timeoutSeconds) }
}

async function close(server: Server, timeoutSeconds: number): Promise<void> {
  const closed = once(server, 'close')
  // Ends idle connections as well; those of running requests end with their answers.
  server.close()
  const timer = setTimeout(() => server.closeAllConnections(), timeoutSeconds * 1000)
  await closed
  clearTimeout(timer)
}
