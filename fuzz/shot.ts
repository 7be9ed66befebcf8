// One request, and the two ways in which it is sent: handed to the app, or as bytes over a socket.

import { connect } from 'node:net'

export type Door = 'ingress' | 'api'

export interface Shot {
  readonly door: Door
  readonly method: string
  /** With the query. */
  readonly path: string
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: Uint8Array<ArrayBuffer> | undefined
  /** As bytes: sizes of the body's chunks, none for a stated length; and what is done to the bytes. */
  readonly wire: Wire | undefined
}

export interface Wire {
  readonly chunks: number | undefined
  /** Cuts the bytes off, or flips a bit, so far through; 0 to 1. */
  readonly cut?: number | undefined
  readonly flip?: number | undefined
}

export interface Reply {
  /** 0: the connection was closed without an answer. */
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

export interface Target {
  readonly fetch: (request: Request, env: object) => Response | Promise<Response>
  readonly url: string
}

/** What cannot be handed over, since no client could send it, goes as bytes. */
export async function send(shot: Shot, target: Target): Promise<Reply> {
  const request = shot.wire === undefined ? requestOf(shot, target) : undefined
  if (request === undefined) return overSocket(target.url, bytesOf(shot, target.url), shot.wire)
  const response = await target.fetch(request, {})
  return { status: response.status, headers: response.headers, text: await response.text() }
}

function requestOf({ method, path, headers, body }: Shot, { url }: Target): Request | undefined {
  try {
    const given = body !== undefined && method !== 'GET' && method !== 'HEAD'
    return new Request(url + path, {
      method,
      headers: headers.map(([name, value]): [string, string] => [name, value]),
      ...(given && { body }),
    })
  } catch {
    return undefined
  }
}

function bytesOf({ method, path, headers, body, wire }: Shot, url: string): Buffer {
  const own = ['Connection: close', `Host: ${new URL(url).host}`]
  const size = wire?.chunks
  if (body !== undefined) own.push(size === undefined ? `Content-Length: ${body.length}` : 'Transfer-Encoding: chunked')
  const given = headers.map(([name, value]) => `${name}: ${value}`)
  const head = Buffer.from([`${method} ${path} HTTP/1.1`, ...own, ...given, '', ''].join('\r\n'), 'utf8')
  const rest = body === undefined ? [] : size === undefined ? [body] : chunked(body, size)
  return mutilated(Buffer.concat([head, ...rest]), wire)
}

function chunked(body: Uint8Array, size: number): Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (let at = 0; at < body.length; at += size) {
    const piece = body.subarray(at, at + size)
    pieces.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n'))
  }
  return [...pieces, Buffer.from('0\r\n\r\n')]
}

function mutilated(bytes: Buffer, { cut, flip }: Partial<Wire> = {}): Buffer {
  if (flip !== undefined) {
    const bit = Math.floor(flip * bytes.length * 8)
    const at = Math.min(bit >> 3, bytes.length - 1)
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7))
  }
  return cut === undefined ? bytes : bytes.subarray(0, Math.floor(cut * bytes.length))
}

function overSocket(url: string, bytes: Buffer, wire: Wire | undefined): Promise<Reply> {
  const { hostname, port } = new URL(url)
  const socket = connect({ port: Number(port), host: hostname })
  const { promise, resolve } = Promise.withResolvers<Reply>()
  const seen: Buffer[] = []
  socket.on('data', piece => seen.push(piece))
  // Answers that came before the server hung up count.
  socket.on('error', () => undefined)
  socket.on('close', () => resolve(replyIn(Buffer.concat(seen).toString('utf8'))))
  // The rest of one that was broken is not waited for; the answer to a whole one is, and then the server hangs up.
  if (wire?.cut === undefined && wire?.flip === undefined) socket.write(bytes)
  else socket.end(bytes)
  return promise
}

function replyIn(text: string): Reply {
  const [head = '', ...rest] = text.split('\r\n\r\n')
  const [line = '', ...lines] = head.split('\r\n')
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(line)?.[1] ?? 0)
  const headers = new Headers(
    lines.map((line): [string, string] => [line.split(':')[0] ?? '', line.replace(/^[^:]*:\s*/, '')]),
  )
  const body = rest.join('\r\n\r\n')
  // Answers are short: they come in one chunk.
  const isChunked = headers.get('transfer-encoding') === 'chunked'
  return { status, headers, text: isChunked ? body.replace(/^[0-9a-f]+\r\n/, '').replace(/\r\n0\r\n\r\n$/, '') : body }
}

/** A request as it can be read. */
export const describeShot = ({ door, method, path, headers, body, wire }: Shot): string =>
  JSON.stringify({
    ...{ door, method, path, headers },
    body: body === undefined ? undefined : cutOff(new TextDecoder().decode(body)),
    wire,
  })

const cutOff = (text: string): string => (text.length > 500 ? `${text.slice(0, 500)}… (${text.length})` : text)
