// A request's raw body, as bytes, up to a limit: signatures are over exactly these bytes.

import { MillraceError } from './errors.ts'

/** Takes memory before it is used; false: there is no more. */
type Take = (bytes: number) => boolean

/**
 * Reads the body while it comes in and gives up at the limit, whatever `content-length` says.
 *
 * @throws {MillraceError} `body_too_large`, `unavailable` where `take` says no, or `invalid_request` when the body breaks off
 */
export async function readBody(request: Request, maxBytes: number, take: Take = () => true): Promise<Uint8Array> {
  if (request.body === null) return new Uint8Array()
  const reader = (request.body as ReadableStream<Uint8Array>).getReader()
  const chunks: Uint8Array[] = []
  let size = 0
  for (let next = await piece(reader); next !== undefined; next = await piece(reader)) {
    size += next.length
    const refusal = size > maxBytes ? tooLarge(maxBytes) : take(next.length) ? undefined : tooMuchAtOnce()
    if (refusal) {
      // Not waited for: of a cloned request, it would take the other copy's end as well.
      reader.cancel().catch(() => undefined)
      throw refusal
    }
    chunks.push(next)
  }
  return chunks.length === 1 ? (chunks[0] as Uint8Array) : joined(chunks, size)
}

const tooLarge = (maxBytes: number) => new MillraceError('body_too_large', `The body is larger than ${maxBytes} bytes`)

export const tooMuchAtOnce = () => new MillraceError('unavailable', 'Too much at once, try again')

async function piece(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Uint8Array | undefined> {
  try {
    return (await reader.read()).value
  } catch (cause) {
    throw new MillraceError('invalid_request', 'The body could not be read', { cause })
  }
}

function joined(chunks: readonly Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size)
  let offset = 0
  for (const chunk of chunks) {
    whole.set(chunk, offset)
    offset += chunk.length
  }
  return whole
}
