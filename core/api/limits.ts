// What holds for every request of the API: headers, rates, lengths, and the memory that bodies may take.

import type { Context, Next } from 'hono'
import { ANSWER_HEADERS, type HeldBytes, type RequestLimits, retryAfterSeconds } from '../request-limits.ts'
import { Problem } from './problem.ts'

/** Room for as many ids as a list takes. */
const MAX_URL_LENGTH = 32 * 1024

/** How a body is read: up to `maxBytes`, in memory that `take` gives. */
export interface BodyLimit {
  readonly maxBytes: number
  readonly take: HeldBytes['take']
}

/** Comes before all routes. A wrong key counts against its sender, and after many of them is answered 429. */
export const limited = (limits: RequestLimits) => async (c: Context, next: Next) => {
  const held = limits.hold()
  c.set('held', held)
  c.set('began', performance.now())
  try {
    // Whoever watches over the process must not take it for dead because others ask too much.
    const client = c.req.path === '/healthz' ? undefined : limits.clientOf(c.req.raw, c.env)
    await admitted(c, limits.request(client), next)
    const wait = c.res.status === 401 ? limits.refused(client) : 0
    if (wait > 0) c.res = tooMany(wait).response()
  } finally {
    held.release()
  }
  for (const [name, value] of Object.entries(ANSWER_HEADERS)) c.res.headers.set(name, value)
}

async function admitted(c: Context, wait: number, next: Next): Promise<void> {
  if (wait > 0) c.res = tooMany(wait).response()
  else if (c.req.url.length > MAX_URL_LENGTH) c.res = tooLong().response()
  else await next()
}

export const bodyLimit = (c: Context, maxBytes: number): BodyLimit => ({
  maxBytes,
  take: bytes => (c.get('held') as HeldBytes).take(bytes),
})

/** How long a request has taken. */
export const msSince = (c: Context): number => performance.now() - (c.get('began') as number)

const tooMany = (wait: number): Problem =>
  new Problem('too_many_requests', 'Too many requests, try again later', {
    headers: { 'retry-after': retryAfterSeconds(wait) },
  })

const tooLong = (): Problem => new Problem('url_too_long', `The URL is longer than ${MAX_URL_LENGTH} characters`)
