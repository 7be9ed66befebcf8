// A request's body, byte for byte as it was signed, with the request left as readable as it was.

import { MillraceError } from '../errors.ts'
import { readBody } from '../read-body.ts'
import { Refused } from './refused.ts'

/**
 * @throws {Refused} `body_too_large`, `body_consumed` when somebody has read it before, `invalid_request` when it breaks off
 */
export async function rawBodyOf(request: Request, maxBytes: number): Promise<Uint8Array> {
  return await readBody(copyOf(request), maxBytes).catch(refuseBody)
}

function copyOf(request: Request): Request {
  try {
    return request.clone()
  } catch {
    throw consumed('Verify first, or hand on a clone of the request')
  }
}

/** What reading was refused or failed with. */
export function refuseBody(error: unknown): never {
  const tooLarge = error instanceof MillraceError && error.code === 'body_too_large'
  throw new Refused(tooLarge ? 'body_too_large' : 'invalid_request', (error as Error).message)
}

/** A mistake in the server's set-up, so it is told at length, and no job fails for good because of it. */
export const consumed = (hint: string): Refused =>
  new Refused(
    'body_consumed',
    `The raw body is gone: something read it before its signature was checked. ${hint}`,
    {},
    { hint },
  )
