// Where a job goes: its kind's target or, for a webhook delivery, its subscription's endpoint, parsed once and kept.

import type { ClaimedJob, SqlEngine, TargetRow } from '../sql-engine.ts'
import { type DispatchRules, isFinalForFunctions, isFinalForWebhooks } from './verdict.ts'

/** The built-in kind of webhook deliveries. */
export const WEBHOOK_KIND = 'millrace.webhook'

export interface Route extends DispatchRules {
  readonly origin: string
  readonly path: string
  readonly requestTimeoutSeconds: number
  readonly concurrency: number
  readonly headers: Readonly<Record<string, string>>
  /** Set for webhook endpoints only. */
  readonly webhookSecret?: string
}

/** What a target leaves out. */
const DEFAULTS = {
  mode: 'callback',
  request_timeout_seconds: 30,
  callback_timeout_seconds: 3600,
  concurrency: 64,
} as const

/** A request that may or may not have been accepted keeps its attempt open for that long. */
const AMBIGUITY_SECONDS = 60

/** The routes on record. An unknown one makes it look again, since it may have been declared a moment ago. */
export class Routes {
  readonly #engine: SqlEngine
  readonly #ambiguitySeconds: number
  #kinds = new Map<string, Route>()
  #subscriptions = new Map<string, Route>()
  #loading: Promise<void> | undefined
  #loadedAt = Number.NEGATIVE_INFINITY

  constructor(engine: SqlEngine, ambiguitySeconds = AMBIGUITY_SECONDS) {
    this.#engine = engine
    this.#ambiguitySeconds = ambiguitySeconds
  }

  /** Reads the declarations anew; calls that come together share one reading. */
  reload(): Promise<void> {
    this.#loading ??= this.#load().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  /** Reads them anew if the last reading is older than that. */
  async refresh(olderThanMs: number): Promise<void> {
    if (performance.now() - this.#loadedAt > olderThanMs) await this.reload()
  }

  /** Undefined for a kind without a target and for a subscription that is gone. */
  of(job: ClaimedJob): Route | undefined {
    if (job.kind !== WEBHOOK_KIND) return this.#kinds.get(job.kind)
    return this.#subscriptions.get((JSON.parse(job.args) as { subscription: string }).subscription)
  }

  async #load(): Promise<void> {
    const [kinds, subscriptions] = await Promise.all([this.#engine.kinds(), this.#engine.subscriptions()])
    this.#kinds = new Map(
      kinds.flatMap(({ name, target }) => (target ? [[name, this.#functionRoute(target)] as const] : [])),
    )
    this.#subscriptions = new Map(
      subscriptions.map(({ name, url, secret }) => [name, this.#webhookRoute(url, secret)] as const),
    )
    this.#loadedAt = performance.now()
  }

  #functionRoute(target: TargetRow): Route {
    const { url, mode, request_timeout_seconds, callback_timeout_seconds, concurrency, headers } = {
      ...DEFAULTS,
      ...target,
    }
    return {
      ...place(url),
      mode,
      requestTimeoutSeconds: request_timeout_seconds,
      callbackTimeoutSeconds: callback_timeout_seconds,
      ambiguitySeconds: this.#ambiguitySeconds,
      concurrency,
      headers: headers ?? {},
      isFinal: isFinalForFunctions,
    }
  }

  #webhookRoute(url: string, secret: string): Route {
    return { ...this.#functionRoute({ url, mode: 'sync' }), webhookSecret: secret, isFinal: isFinalForWebhooks }
  }
}

function place(url: string): { origin: string; path: string } {
  const { origin, pathname, search } = new URL(url)
  return { origin, path: pathname + search }
}
