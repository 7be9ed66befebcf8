// What holds for every request of the ingress: rates, lengths, and the memory that bodies may take.

import type { HonoRequest } from 'hono'
import type { MillraceError } from '../errors.ts'
import { readBody, tooMuchAtOnce } from '../read-body.ts'
import { type HeldBytes, type RequestLimits, retryAfterSeconds } from '../request-limits.ts'
import { Problem } from './problem.ts'

/** The longest token has 1,240 characters. */
const MAX_URL_LENGTH = 4 * 1024
/** A longer body is taken piece by piece, so that announcing one takes no memory away from others. */
const MAX_READ_WHOLE = 64 * 1024

/** @throws {Problem} 429, 414 */
export function admit(limits: RequestLimits, client: string | undefined, url: string): void {
  const wait = limits.request(client)
  if (wait > 0) throw tooMany(wait)
  if (url.length > MAX_URL_LENGTH) {
    throw new Problem(414, 'url_too_long', `The URL is longer than ${MAX_URL_LENGTH} characters`)
  }
}

/** @throws {Problem} 429 for too many events by one token */
export function admitEvent(limits: RequestLimits, { job, name }: { job: string; name: string }): void {
  const wait = limits.event(`${job} ${name}`)
  if (wait > 0) throw tooMany(wait)
}

/** The answer to somebody who was not let in, which is another one after many of them. */
export function counted(limits: RequestLimits, client: string | undefined, problem: Problem): Problem {
  const wait = isOfStranger(problem) ? limits.refused(client) : 0
  return wait > 0 ? tooMany(wait) : problem
}

/** An old signature, or one for an attempt that has ended, was right once. */
const isOfStranger = (problem: Problem): boolean =>
  ['invalid_signature', 'method_not_allowed', 'url_too_long'].includes(problem.code) || problem === NO_SUCH_PATH

export const NO_SUCH_PATH = new Problem(404, 'not_found', 'Not found')

const tooMany = (wait: number): Problem =>
  new Problem(429, 'too_many_requests', 'Too many requests, try again later', {}, retryAfterSeconds(wait))

/**
 * A body of a stated length is read whole, which Node does several times faster than a stream of it; no server hands out
 * more than what was stated. Any other is read up to the limit.
 *
 * @throws {Problem} 413, 400 when it breaks off, 503 when there is no memory for it
 */
export async function bodyOf(request: HonoRequest, maxBytes: number, held: HeldBytes): Promise<Uint8Array> {
  const stated = Number(request.header('content-length'))
  try {
    if (!(stated <= Math.min(maxBytes, MAX_READ_WHOLE))) return await readBody(request.raw, maxBytes, held.take)
    if (!held.take(stated)) throw tooMuchAtOnce()
    return new Uint8Array(await request.arrayBuffer())
  } catch (error) {
    throw bodyProblem(error as MillraceError)
  }
}

function bodyProblem({ code, message }: MillraceError): Problem {
  if (code === 'body_too_large') return new Problem(413, code, message)
  if (code === 'unavailable') return new Problem(503, code, message)
  return new Problem(400, 'invalid_request', 'The body could not be read')
}
