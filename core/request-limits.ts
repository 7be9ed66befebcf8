// What one client may ask of a public app: how often, and how much at once. Each process counts for itself.

import { MillraceError } from './errors.ts'
import { type Rate, TokenBuckets, type TokenBucketsOptions } from './token-buckets.ts'

/** Who asks, as a short text such as an address; undefined: not known, and not limited. */
export type ClientOf = (request: Request, env: unknown) => string | undefined

export interface RequestLimitsOptions extends TokenBucketsOptions {
  /** Without it nothing is limited per client. */
  readonly clientOf?: ClientOf | undefined
  /** Of a client, whatever it asks: 5,000 a second, 10,000 at once. */
  readonly requests?: Rate | false | undefined
  /**
   * Of a client, those that were not let in: 10 a second, 100 at once. From then on they are answered 429. What is rightly
   * signed, or has a right key, is let in all the same.
   */
  readonly refused?: Rate | false | undefined
  /** With one event token: 10 a second, 200 at once. */
  readonly events?: Rate | false | undefined
  /** Of bodies that are held in memory at once, of all clients together: 128 MiB. */
  readonly bodyBytes?: number | undefined
}

const DEFAULT = {
  requests: { perSecond: 5_000, burst: 10_000 },
  refused: { perSecond: 10, burst: 100 },
  events: { perSecond: 10, burst: 200 },
  bodyBytes: 128 * 1024 * 1024,
}

/** Milliseconds until the next one is allowed; 0: now. */
type Wait = number

export interface RequestLimits {
  readonly clientOf: ClientOf
  request(client: string | undefined): Wait
  refused(client: string | undefined): Wait
  event(token: string): Wait
  /** A share of the memory for bodies, to be given back. */
  hold(): HeldBytes
}

/** What one request holds. */
export interface HeldBytes {
  /** False when that is more than there is. */
  take(bytes: number): boolean
  release(): void
}

/**
 * Limits for `callbacks` and `apiApp`. Where an app is made per request, as on Workers, make them once, beside it.
 *
 * @throws {MillraceError} `invalid_configuration` for a rate that lets nothing through
 * @example
 * const limits = requestLimits({ clientOf: request => request.headers.get('cf-connecting-ip') ?? undefined })
 */
export function requestLimits(options: RequestLimitsOptions = {}): RequestLimits {
  const { clientOf = () => undefined, bodyBytes = DEFAULT.bodyBytes } = options
  const per = (name: 'requests' | 'refused' | 'events') => limiter(name, options[name] ?? DEFAULT[name], options)
  const [request, refused, event] = [per('requests'), per('refused'), per('events')]
  return { clientOf, request, refused, event, hold: budget(bodyBytes) }
}

function limiter(name: string, rate: Rate | false, options: TokenBucketsOptions): (key: string | undefined) => Wait {
  if (rate === false) return () => 0
  if (!(rate.perSecond > 0 && rate.burst >= 1)) {
    throw new MillraceError('invalid_configuration', `The limit of ${name} lets nothing through`, {
      hint: 'perSecond is above 0, burst at least 1; false for no limit',
    })
  }
  const buckets = new TokenBuckets(rate, options)
  return key => (key === undefined ? 0 : buckets.take(key))
}

function budget(total: number): () => HeldBytes {
  let left = total
  return () => {
    let held = 0
    return {
      take(bytes) {
        if (bytes > left) return false
        left -= bytes
        held += bytes
        return true
      },
      release() {
        left += held
        held = 0
      },
    }
  }
}

/** For `Retry-After`: whole seconds, at least one. */
export const retryAfterSeconds = (wait: Wait): string => String(Math.max(1, Math.ceil(wait / 1_000)))

/** Sent with every answer: none is for a cache, a frame or a guess at its type, and no link leads away from it. */
export const ANSWER_HEADERS: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
}
