// A WebSocket→TCP proxy as Neon's driver expects one in front of Postgres, for databases on an allow-list only.

import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { neonConfig } from '@neondatabase/serverless'
import { createWebSocketStream, type WebSocket, WebSocketServer } from 'ws'

/**
 * Starts the proxy and points Neon's driver at it; `allowed` holds `host:port` of what it may reach. `address` is the proxy's
 * own, for drivers in other processes.
 */
export async function startNeonWebSocket(allowed: readonly string[]): Promise<AsyncDisposable & { address: string }> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  server.on('connection', (socket, request) => {
    const target = new URL(request.url ?? '/', 'ws://proxy').searchParams.get('address') ?? ''
    if (allowed.includes(target)) forward(socket, target)
    else socket.close(1008, 'target is not on the allow-list')
  })
  pointDriverAt(server.address() as AddressInfo)
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Waits for the open connections to say goodbye: the driver takes a cut one for a fault. */
    [Symbol.asyncDispose]: () => new Promise<void>(closed => server.close(() => closed())),
  }
}

function forward(socket: WebSocket, target: string): void {
  const [host, port] = target.split(':')
  const tcp = connect({ host, port: Number(port), noDelay: true })
  const stream = createWebSocketStream(socket)
  stream.pipe(tcp).pipe(stream)
  // Either side going away takes the other along.
  stream.on('error', () => tcp.destroy())
  tcp.on('error', () => stream.destroy())
}

function pointDriverAt({ port }: AddressInfo): void {
  neonConfig.wsProxy = (host, databasePort) => `127.0.0.1:${port}/v1?address=${host}:${databasePort}`
  // Plain text on the loopback, and no shortcuts that assume Neon's own proxy and its password method.
  neonConfig.useSecureWebSocket = false
  neonConfig.pipelineConnect = false
  neonConfig.pipelineTLS = false
}
