// What a kind's declaration may say besides its name and its arguments: retry policy, target, defaults.

/** How long to wait after failed attempt `n`, always capped at `capSeconds` (24 h). Seconds throughout. */
export type RetryPolicy =
  /** `base × 2^(n-1)`, plus up to `jitter` (a share, 0.25) of it. The default, with a base of 2 s. */
  | {
      readonly strategy: 'exponential'
      readonly baseSeconds?: number
      readonly capSeconds?: number
      readonly jitter?: number
    }
  /** `base × n`. */
  | {
      readonly strategy: 'linear'
      readonly baseSeconds?: number
      readonly capSeconds?: number
      readonly jitter?: number
    }
  | { readonly strategy: 'fixed'; readonly baseSeconds: number; readonly jitter?: number }
  /** The n-th entry; the last one repeats. */
  | { readonly strategy: 'list'; readonly delaysSeconds: readonly number[]; readonly jitter?: number }

/** The function that does a kind's work. */
export interface HttpTarget {
  /** Absolute `http(s)` URL that takes the dispatch as a POST. */
  readonly url: string
  /** `sync`: the answer closes the attempt. `callback` (default): the answer accepts it, a signed callback closes it. */
  readonly mode?: 'sync' | 'callback'
  /** How long the answer may take, in seconds: 30. */
  readonly requestTimeoutSeconds?: number
  /** Callback mode: how long an accepted attempt may stay silent, in seconds: 3600. */
  readonly callbackTimeoutSeconds?: number
  /** Requests in flight per dispatcher, shared by all kinds with the same URL origin: 64. */
  readonly concurrency?: number
  /** Sent with every dispatch. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Everything about a kind that the database knows. */
export interface KindOptions {
  /** `default` unless given; at most 200 characters. */
  readonly queue?: string
  /** 1 (first) to 4 (last); 2 unless given. */
  readonly priority?: number
  /** 1 to 1000; 25 unless given. */
  readonly maxAttempts?: number
  readonly retry?: RetryPolicy
  readonly target?: HttpTarget
}
