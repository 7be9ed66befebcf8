// A real HTTP server around a Web fetch handler, on a port of its own.

import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { onTestFinished } from 'vitest'

/** Serves until the test is over; answers the base URL. */
export const listen = (fetch: (request: Request) => Response | Promise<Response>): Promise<string> =>
  listenNode(createAdaptorServer({ fetch }) as Server)

/** As {@link listen}, for a server of Node's. */
export async function listenNode(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    return closed.then(() => undefined)
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
