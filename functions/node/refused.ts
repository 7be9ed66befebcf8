// What a Node server answers before an app can: to requests that are none, too slow or too large, in the app's own form.

import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { ANSWER_HEADERS } from '../../core/request-limits.ts'

/** An error as the app answers it. */
export type ErrorBody = (code: string, message: string) => unknown

export interface Refusal {
  readonly status: number
  readonly code: string
  readonly message: string
  readonly headers?: Readonly<Record<string, string>>
}

export const MALFORMED = { status: 400, code: 'invalid_request', message: 'Not an HTTP request that can be answered' }
export const FAILED = {
  ...{ status: 503, code: 'unavailable', message: 'This cannot be answered now, try again' },
  headers: { 'retry-after': '1' },
}
const NO_TUNNEL = {
  ...{ status: 405, code: 'method_not_allowed', message: 'This is no proxy' },
  headers: { allow: 'GET, POST' },
}
export const EXPECTATION = { status: 417, code: 'invalid_request', message: 'Expect what HTTP knows: 100-continue' }
export const TOO_MANY_HEADERS = {
  status: 431,
  code: 'headers_too_large',
  message: 'The headers are too many or too large',
}
const TOO_SLOW = { status: 408, code: 'request_timeout', message: 'The request took too long to arrive' }
const TOO_LARGE = { status: 413, code: 'body_too_large', message: 'The body has extensions that are too large' }

/** Of the codes of Node's parser; any other is malformed. */
const BY_CODE: Readonly<Record<string, Refusal>> = {
  HPE_HEADER_OVERFLOW: TOO_MANY_HEADERS,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: TOO_LARGE,
  ERR_HTTP_REQUEST_TIMEOUT: TOO_SLOW,
}

/** The bytes of an answer, in an app's form, for each way in which Node lets it be given. */
export function refuser(form: ErrorBody = (code, error) => ({ error, code })) {
  const parts = ({ status, code, message, headers }: Refusal) => ({
    status,
    body: JSON.stringify(form(code, message)),
    headers: { ...ANSWER_HEADERS, 'content-type': 'application/json', ...headers, connection: 'close' },
  })
  const raw = (refusal: Refusal): string => {
    const { status, body, headers } = parts(refusal)
    const lines = Object.entries({ ...headers, 'content-length': body.length }).map(
      ([name, value]) => `${name}: ${value}`,
    )
    return [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, ...lines, '', body].join('\r\n')
  }
  return {
    response(refusal: Refusal): Response {
      const { status, body, headers } = parts(refusal)
      return new Response(body, { status, headers })
    },

    answer(refusal: Refusal, request: IncomingMessage, outgoing: ServerResponse): void {
      const { status, body, headers } = parts(refusal)
      outgoing.writeHead(status, headers).end(body)
      request.resume()
    },

    /** For what the parser gave up. Half an answer that is under way is not mixed with another. */
    hangUp(error: NodeJS.ErrnoException, socket: Duplex): void {
      const { _httpMessage: underWay } = socket as { _httpMessage?: ServerResponse }
      if (!socket.writable || underWay?.headersSent) return void socket.destroy()
      socket.end(raw(BY_CODE[error.code ?? ''] ?? MALFORMED), () => socket.destroy())
    },

    tunnel(_request: IncomingMessage, socket: Duplex): void {
      socket.on('error', () => undefined)
      socket.end(raw(NO_TUNNEL), () => socket.destroy())
    },
  }
}
