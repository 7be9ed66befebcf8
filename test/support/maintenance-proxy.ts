// A TCP proxy in front of Postgres, which can cut connections and refuse new ones.

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/** Forwards to the server of `url`, until the test is over; its own `url` names the same database. */
export async function startProxy(url: string, whenOver: (end: () => void) => void = onTestFinished) {
  const target = new URL(url)
  const open = new Set<Socket>()
  let refusing = false
  let connections = 0
  const server = createServer(socket => {
    connections++
    const behind = connect({ host: target.hostname, port: Number(target.port || 5432) })
    for (const [side, other] of [
      [socket, behind],
      [behind, socket],
    ] as const) {
      open.add(side)
      side.on('error', () => other.destroy())
      side.on('close', () => {
        open.delete(side)
        other.destroy()
      })
    }
    if (refusing) socket.destroy()
    socket.pipe(behind).pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => {
    for (const socket of open) socket.destroy()
  }
  whenOver(() => {
    cut()
    server.close()
  })
  const own = new URL(url)
  own.hostname = '127.0.0.1'
  own.port = String((server.address() as AddressInfo).port)
  return {
    url: own.href,
    /** How many there have been. */
    get connections() {
      return connections
    },
    /** How many there are, both ends counted. */
    get open() {
      return open.size
    },
    /** Breaks every connection. */
    cut,
    /** Breaks every connection and takes no new one until {@link restore}. */
    refuse() {
      refusing = true
      cut()
    },
    restore() {
      refusing = false
    },
  }
}
