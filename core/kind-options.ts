// What a kind's declaration may say besides its name and its arguments: retry policy, target, defaults, what follows.

import type { FollowUp } from './follow-up.ts'
import type { LambdaFunction } from './lambda-target.ts'
import type { SecretReference, TargetAuth } from './target-auth.ts'

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
export type Target = HttpTarget | LambdaTarget

/** A function behind a URL. */
export interface HttpTarget {
  /**
   * Absolute `http(s)` URL that takes the dispatch as a POST; or `binding://NAME/path` for a Worker that maintenance on
   * Cloudflare has a service binding to.
   */
  readonly url: string
  readonly lambda?: undefined
  /** `sync`: the answer closes the attempt. `callback` (default): the answer accepts it, a signed callback closes it. */
  readonly mode?: 'sync' | 'callback'
  /** How long the answer may take, in seconds: 30. */
  readonly requestTimeoutSeconds?: number
  /** Callback mode: how long an accepted attempt may stay silent, in seconds: 3600. */
  readonly callbackTimeoutSeconds?: number
  /** Requests in flight per dispatcher, shared by all kinds with the same URL origin, or the same function of Lambda: 64. */
  readonly concurrency?: number
  /**
   * Whether functions are sent Awa's bearer header `X-Awa-Signature`, in callback mode: true, unless the deployment has switched
   * it off. Without it there is none that could leak; functions of this SDK do not need it.
   */
  readonly compatible?: boolean
  /** Sent with every dispatch. Of `secret('NAME')` only the name is on record. */
  readonly headers?: Readonly<Record<string, string | SecretReference>>
  /** What the function's platform asks of its callers; needs credentials where jobs are sent from. */
  readonly auth?: TargetAuth
  /**
   * Statuses (300 to 599) that mean something else than usual (408, 425, 429 and 5xx are retried, other 4xx final). What
   * stands under `retry` is a failed attempt, also where 429 and 503 would put the job back.
   */
  readonly statuses?: { readonly retry?: readonly number[]; readonly final?: readonly number[] }
}

/**
 * A function of AWS Lambda that is invoked directly, without a URL: `RequestResponse` in sync mode, `Event` in callback mode.
 * Maintenance needs a `lambdaInvoker` (`--lambda`).
 */
export interface LambdaTarget extends Omit<HttpTarget, 'url' | 'lambda' | 'headers' | 'auth'> {
  readonly lambda: LambdaFunction
  readonly url?: undefined
  readonly headers?: undefined
  readonly auth?: undefined
}

/** Everything about a kind that the database knows. */
export interface KindOptions {
  /** `default` unless given; at most 200 characters. */
  readonly queue?: string
  /** 1 (first) to 4 (last); 2 unless given. */
  readonly priority?: number
  /** 1 to 1000; 25 unless given. */
  readonly maxAttempts?: number
  /**
   * How long one attempt may take, in seconds, from when it is sent, however often it sends heartbeats; then it has failed
   * (`deadline_exceeded`) and is retried while attempts are left. At most 30 days; no limit unless given.
   */
  readonly timeLimitSeconds?: number
  readonly retry?: RetryPolicy
  readonly target?: Target
  /** Jobs that are enqueued in the transaction in which something happens to a job of this kind, whoever makes it happen. */
  readonly followUps?: readonly FollowUp[]
}
