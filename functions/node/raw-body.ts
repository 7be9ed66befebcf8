// A Node request's body, byte for byte as it was signed, and its path as the sender wrote it.

import type { IncomingMessage } from 'node:http'
import { consumed } from '../../core/function/raw-body.ts'
import { Refused } from '../../core/function/refused.ts'

/** What frameworks and body parsers put on a request. */
export interface ParsedRequest extends IncomingMessage {
  /** Path and query before a router took its mount off; Connect and Express set it. */
  originalUrl?: string
  rawBody?: Uint8Array | string
  body?: unknown
}

const HINT =
  'Put this before the body parser, or let the parser keep the bytes: express.json({ verify: (req, res, bytes) => { req.rawBody = bytes } })'

/** Path and query as in the request line, whatever was mounted where. */
export function pathOf(request: ParsedRequest): string {
  const target = request.originalUrl ?? request.url ?? '/'
  if (target.startsWith('/')) return target
  // The form for proxies: scheme and host come before the path.
  const { pathname, search } = new URL(target, 'http://localhost')
  return pathname + search
}

/**
 * The bytes that a body parser kept, else the stream itself.
 *
 * @throws {Refused} `body_too_large`, `invalid_request` when it breaks off, `body_consumed` when a parser kept nothing
 */
export async function rawBodyOf(request: ParsedRequest, maxBytes: number): Promise<Uint8Array> {
  const bytes = keptBody(request) ?? (await readStream(request, maxBytes))
  if (bytes.length > maxBytes) throw tooLarge(maxBytes)
  return bytes
}

/** `rawBody` first: `body` may be a getter that parses, and is asked for only where somebody has read the stream. */
export function keptBody(request: ParsedRequest): Uint8Array | undefined {
  const { rawBody } = request
  if (rawBody instanceof Uint8Array) return rawBody
  if (typeof rawBody === 'string') return Buffer.from(rawBody)
  if (!isRead(request)) return undefined
  if (request.body instanceof Uint8Array) return request.body
  throw consumed(HINT)
}

/** A body of no bytes may have been ended by anybody, and there is nothing to have lost. */
const isRead = (request: ParsedRequest): boolean =>
  (request.readableDidRead || request.readableEnded) && !isEmpty(request)

const isEmpty = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0

/** Not by iteration: that would close the connection at the limit, and nobody would hear why. */
function readStream(request: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  if (request.readableEnded) return Promise.resolve(new Uint8Array())
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = []
    let size = 0
    const broken = () => reject(new Refused('invalid_request', 'The body could not be read'))
    request.on('data', (chunk: Uint8Array) => {
      size += chunk.length
      if (size <= maxBytes) chunks.push(chunk)
      else {
        chunks.length = 0
        reject(tooLarge(maxBytes))
      }
    })
    request.once('end', () => resolve(Buffer.concat(chunks)))
    request.once('error', broken)
    request.once('close', broken)
    if (request.destroyed) broken()
  })
}

const tooLarge = (maxBytes: number): Refused =>
  new Refused('body_too_large', `The body is larger than ${maxBytes} bytes`)
