// Requests whose bytes on the wire are up to the test: bodies in pieces, headers twice, bodies of any kind, signed as they are.

import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import { parseKeyring, signDispatch } from 'millrace/protocol'
import { dispatchKeys } from './function.ts'

const [key] = parseKeyring(dispatchKeys).keys

export interface RawRequest {
  readonly method?: string
  /** What is asked for; and signed, unless `signedPath` says otherwise. */
  readonly path?: string
  readonly signedPath?: string
  /** Sent in these pieces; signed as a whole. */
  readonly body: readonly (string | Uint8Array)[]
  /** Takes the body in place of the one that was signed. */
  readonly sent?: readonly (string | Uint8Array)[]
  /** A list is sent as so many headers; undefined takes one away. */
  readonly headers?: Record<string, string | string[] | undefined>
}

export interface RawAnswer {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly body: Record<string, unknown>
}

const joined = (pieces: RawRequest['body']) => Buffer.concat(pieces.map(piece => Buffer.from(piece)))

export const signatureOf = ({ path = '/jobs', signedPath = path, body }: RawRequest): string =>
  signDispatch(key, { method: 'POST', path: signedPath, body: joined(body) }, Date.now())

/** Sends it to the server at `base` and answers what comes back. */
export function sendRaw(base: string, raw: RawRequest): Promise<RawAnswer> {
  const { method = 'POST', path = '/jobs', sent = raw.body } = raw
  const headers = {
    'content-type': 'application/json',
    'content-length': sent.length > 1 ? undefined : String(joined(sent).length),
    'millrace-signature': signatureOf(raw),
    ...raw.headers,
  }
  const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>()
  const { hostname, port } = new URL(base)
  const outgoing = request({ hostname, port, path, method, agent: false })
  for (const [name, value] of Object.entries(headers)) if (value !== undefined) outgoing.setHeader(name, value)
  outgoing.once('error', reject)
  outgoing.once('response', async response => {
    const { statusCode: status = 0, headers } = response
    const body = await text(response)
    resolve({ status, headers, body: body.startsWith('{') ? JSON.parse(body) : {} })
  })
  for (const piece of sent) outgoing.write(piece)
  outgoing.end()
  return promise
}
