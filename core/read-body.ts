// A request's raw body, as bytes, up to a limit: signatures are over exactly these bytes.

import { MillraceError } from './errors.ts'

/**
 * Reads the body while it comes in and gives up at the limit, whatever `content-length` says.
 *
 * @throws {MillraceError} `body_too_large`, or `invalid_request` when the body breaks off
 */
export async function readBody(request: Request, maxBytes: number): Promise<Uint8Array> {
  if (request.body === null) return new Uint8Array()
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of request.body as unknown as AsyncIterable<Uint8Array>) {
      size += chunk.length
      if (size > maxBytes) throw new MillraceError('body_too_large', `The body is larger than ${maxBytes} bytes`)
      chunks.push(chunk)
    }
  } catch (error) {
    if (error instanceof MillraceError) throw error
    throw new MillraceError('invalid_request', 'The body could not be read', { cause: error })
  }
  return chunks.length === 1 ? (chunks[0] as Uint8Array) : joined(chunks, size)
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
