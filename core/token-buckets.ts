// Token buckets: how often each of many may do something, in memory that does not grow.

/** `burst` at once, and `perSecond` from then on. */
export interface Rate {
  readonly perSecond: number
  readonly burst: number
}

export interface TokenBucketsOptions {
  /** 10,000. Those used least lately are forgotten, and begin anew with a full bucket. */
  readonly buckets?: number | undefined
  /** Milliseconds, never going back. */
  readonly now?: (() => number) | undefined
}

interface Bucket {
  tokens: number
  at: number
}

const BUCKETS = 10_000

export class TokenBuckets {
  readonly #rate: Rate
  readonly #most: number
  readonly #now: () => number
  /** Those used least lately come first. */
  readonly #buckets = new Map<string, Bucket>()

  constructor(rate: Rate, { buckets = BUCKETS, now = () => performance.now() }: TokenBucketsOptions = {}) {
    this.#rate = rate
    this.#most = buckets
    this.#now = now
  }

  /** How many are remembered. */
  get size(): number {
    return this.#buckets.size
  }

  /** Takes a token, and answers 0; where none is left, the milliseconds until there is one. */
  take(key: string): number {
    const { perSecond, burst } = this.#rate
    const now = this.#now()
    const { tokens, at } = this.#buckets.get(key) ?? { tokens: burst, at: now }
    const left = Math.min(burst, tokens + ((now - at) / 1_000) * perSecond)
    const isTaken = left >= 1
    this.#remember(key, { tokens: isTaken ? left - 1 : left, at: now })
    return isTaken ? 0 : Math.max(1, Math.ceil(((1 - left) / perSecond) * 1_000))
  }

  #remember(key: string, bucket: Bucket): void {
    this.#buckets.delete(key)
    this.#buckets.set(key, bucket)
    if (this.#buckets.size <= this.#most) return
    const [oldest] = this.#buckets.keys()
    this.#buckets.delete(oldest as string)
  }
}
