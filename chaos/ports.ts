// Fixed ports, so that what is restarted is found where it was.

import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * A free port of this machine, below those that the system gives to outgoing connections: of these, one could take the
 * port while its server is down.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000)
    if (await isFree(port)) return port
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  server.listen({ port, host: '127.0.0.1' })
  try {
    await once(server, 'listening')
  } catch {
    return false
  }
  server.close()
  await once(server, 'close')
  return true
}
