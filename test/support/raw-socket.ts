// Requests as bytes on a socket, for what no client would send.

import { connect, type Socket } from 'node:net'

export interface RawReply {
  /** 0: the connection was closed without an answer. */
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

/** Sends the pieces one after the other and reads until the server closes the connection. */
export async function exchange(url: string, ...pieces: (string | Uint8Array)[]): Promise<RawReply> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  const { promise, resolve } = Promise.withResolvers<RawReply>()
  const chunks: Buffer[] = []
  socket.on('data', chunk => chunks.push(chunk))
  // Answers that came before the server hung up count.
  socket.on('error', () => undefined)
  socket.on('close', () => resolve(parseReply(Buffer.concat(chunks).toString('latin1'))))
  await send(socket, pieces)
  return promise
}

async function send(socket: Socket, pieces: readonly (string | Uint8Array)[]): Promise<void> {
  for (const piece of pieces) {
    if (socket.destroyed) return
    await new Promise(resolve => socket.write(piece, resolve))
  }
}

function parseReply(text: string): RawReply {
  const [head = '', ...rest] = text.split('\r\n\r\n')
  const [line = '', ...lines] = head.split('\r\n')
  const headers = new Map(lines.map(line => [line.split(':')[0]?.toLowerCase() ?? '', line.split(/:\s*/, 2)[1] ?? '']))
  return { status: Number(line.split(' ')[1] ?? 0), headers, body: unchunked(rest.join('\r\n\r\n'), headers) }
}

/** Answers are short: one piece. */
const unchunked = (body: string, headers: ReadonlyMap<string, string>): string =>
  headers.get('transfer-encoding') === 'chunked'
    ? body.replace(/^[0-9a-f]+\r\n/i, '').replace(/\r\n0\r\n\r\n$/, '')
    : body
