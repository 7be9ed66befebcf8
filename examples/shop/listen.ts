// Puts a Hono app on 127.0.0.1 and ends it in good order.

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import type { Hono } from 'hono'

/** Listens on `PORT` or any free port and says `ready on <url>`. On SIGTERM answers what has come in, then closes. */
export async function listen(app: Hono, close: () => Promise<void>): Promise<void> {
  const server = createAdaptorServer(app)
  server.listen(Number(process.env.PORT ?? 0), '127.0.0.1')
  await once(server, 'listening')
  console.log(`ready on http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  await once(process, 'SIGTERM')
  server.close()
  await once(server, 'close')
  await close()
}
