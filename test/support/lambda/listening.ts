// A server on a port of its own that lives longer than one test.

import { once } from 'node:events'
import { Server } from 'node:http'
import type { AddressInfo, Server as SocketServer } from 'node:net'

export async function listening(server: SocketServer) {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const close = async () => {
    const closed = once(server, 'close')
    server.close()
    if (server instanceof Server) server.closeAllConnections()
    await closed
  }
  return { host: `127.0.0.1:${port}`, close }
}
