// Where a job goes: its kind's target or, for a webhook delivery, its endpoint, parsed once and kept.

import type { ClaimedJob, KindRow, TargetRow } from '../engine-rows.ts'
import { type LambdaFunction, lambdaNameOf } from '../lambda-target.ts'
import type { SqlEngine } from '../sql-engine.ts'
import type { SecretReference } from '../target-auth.ts'
import { targetUrlOf } from '../target-url.ts'
import { CALLBACK_TIMEOUT_SECONDS } from '../wire.ts'
import type { Authorization } from './authorize.ts'
import type { Endpoint } from './endpoints.ts'
import { type DispatchRules, isFinalForFunctions, WEBHOOK_RULES } from './verdict.ts'

export interface Route extends DispatchRules {
  /** Of the URL; of a function of Lambda, what its invocations are limited by together. */
  readonly origin: string
  /** Path and query; of a function of Lambda, its name. */
  readonly path: string
  /** To be invoked instead of being sent a request. */
  readonly lambda?: LambdaFunction | undefined
  readonly requestTimeoutSeconds: number
  readonly concurrency: number
  /** Whether Awa's bearer header is sent, where the deployment sends it: true. */
  readonly compatible?: boolean | undefined
  readonly headers: Readonly<Record<string, string>>
  /** Set where something has to be asked for before a request can be built. */
  readonly authorization?: Authorization | undefined
  /** Of webhook endpoints: all of them sign. */
  readonly secrets?: readonly string[]
}

/** What a target leaves out. */
const DEFAULTS = {
  mode: 'callback',
  request_timeout_seconds: 30,
  callback_timeout_seconds: CALLBACK_TIMEOUT_SECONDS,
  concurrency: 64,
} as const

/** A request that may or may not have been accepted keeps its attempt open for that long. */
const AMBIGUITY_SECONDS = 60

/** The routes on record. An unknown one makes it look again, since it may have been declared a moment ago. */
export class Routes {
  readonly #engine: SqlEngine
  readonly #ambiguitySeconds: number
  #kinds = new Map<string, Route>()
  #limits: ReadonlyMap<string, number> = new Map()
  #loading: Promise<void> | undefined
  #next: Promise<void> | undefined
  #loadedAt = Number.NEGATIVE_INFINITY

  readonly #onLoaded: (limitOf: (origin: string) => number) => void

  /** `onLoaded` hears after every reading how many requests each origin may have in flight from now on. */
  constructor(
    engine: SqlEngine,
    onLoaded: (limitOf: (origin: string) => number) => void,
    ambiguitySeconds = AMBIGUITY_SECONDS,
  ) {
    this.#engine = engine
    this.#onLoaded = onLoaded
    this.#ambiguitySeconds = ambiguitySeconds
  }

  /** Reads the declarations as they are from now on; calls that come together share one reading. */
  reload(): Promise<void> {
    this.#next ??= this.#loadNext()
    return this.#next
  }

  /** Reads them anew if the last reading is older than that; waits for one that is under way. */
  async refresh(olderThanMs: number): Promise<void> {
    if (performance.now() - this.#loadedAt > olderThanMs) await this.reload()
    else await (this.#next ?? this.#loading)
  }

  /** Undefined for a kind without a target. */
  of(job: ClaimedJob): Route | undefined {
    return this.#kinds.get(job.kind)
  }

  /** Where deliveries to an endpoint go. Undefined: its URL is none. */
  to({ url, secrets }: Pick<Endpoint, 'url' | 'secrets'>): Route | undefined {
    const route = this.#functionRoute({ url, mode: 'sync' }, this.#limits)
    return route && { ...route, ...WEBHOOK_RULES, secrets }
  }

  /** A reading that is under way may have looked too early. */
  async #loadNext(): Promise<void> {
    await this.#loading?.catch(() => undefined)
    this.#next = undefined
    this.#loading = this.#load().finally(() => {
      this.#loading = undefined
    })
    await this.#loading
  }

  async #load(): Promise<void> {
    const kinds = await this.#engine.kinds()
    const limits = limitsOf(kinds)
    this.#limits = limits
    this.#kinds = new Map(
      kinds.flatMap(({ name, target, time_limit_seconds }) =>
        entry(name, target && this.#functionRoute(target, limits, time_limit_seconds)),
      ),
    )
    this.#loadedAt = performance.now()
    this.#onLoaded(origin => limits.get(origin) ?? DEFAULTS.concurrency)
  }

  /** Undefined for a target that cannot be one: rows may come from other hands than our client's. */
  #functionRoute(
    target: TargetRow,
    limits: ReadonlyMap<string, number>,
    timeLimit: number | null = null,
  ): Route | undefined {
    const { mode, request_timeout_seconds, callback_timeout_seconds, headers } = { ...DEFAULTS, ...target }
    const place = placeOf(target)
    if (place === undefined) return undefined
    const { origin } = place
    const limit = timeLimit ?? Number.POSITIVE_INFINITY
    return {
      ...place,
      mode,
      requestTimeoutSeconds: Math.min(request_timeout_seconds, limit),
      callbackTimeoutSeconds: Math.min(callback_timeout_seconds, limit),
      isTimeLimited: limit <= request_timeout_seconds,
      ambiguitySeconds: this.#ambiguitySeconds,
      concurrency: limits.get(origin) ?? DEFAULTS.concurrency,
      compatible: target.compatible,
      ...headersOf(headers ?? {}, target, origin),
      isFinal: isFinalForFunctions,
      statuses: statusesOf(target),
      snoozes: true,
      putsBack: true,
    }
  }
}

/** Undefined for what is no place. */
function placeOf({ url, lambda }: TargetRow): Pick<Route, 'origin' | 'path' | 'lambda'> | undefined {
  if (!lambda) return targetUrlOf(url ?? '')
  const named = lambdaNameOf(lambda)
  if (named === undefined) return undefined
  const { name: path, gate: origin, region } = named
  return { origin, path, lambda: { ...lambda, ...(region !== undefined && { region }) } }
}

const entry = (name: string, route: Route | undefined | null): [string, Route][] => (route ? [[name, route]] : [])

/** In lower case, or one of ours might be sent twice, in two spellings. */
function headersOf(
  declared: Readonly<Record<string, string | SecretReference>>,
  { auth }: TargetRow,
  origin: string,
): Pick<Route, 'headers' | 'authorization'> {
  const headers: Record<string, string> = {}
  const secrets: Record<string, string> = {}
  for (const [name, value] of Object.entries(declared)) {
    if (typeof value === 'string') headers[name.toLowerCase()] = value
    else secrets[name.toLowerCase()] = String(value?.secret)
  }
  const isPlain = auth === undefined && Object.keys(secrets).length === 0
  return isPlain ? { headers } : { headers, authorization: { secrets, auth, origin } }
}

function statusesOf({ statuses }: TargetRow): Map<number, 'retry' | 'final'> {
  const means = (meaning: 'retry' | 'final') =>
    [statuses?.[meaning] ?? []].flat().map(status => [status, meaning] as const)
  return new Map([...means('retry'), ...means('final')])
}

/** Kinds at one origin share its limit; where they disagree, the least one holds. */
function limitsOf(kinds: readonly KindRow[]): Map<string, number> {
  const limits = new Map<string, number>()
  for (const { target } of kinds) {
    const origin = target ? placeOf(target)?.origin : undefined
    if (origin === undefined || target?.concurrency === undefined) continue
    limits.set(origin, Math.min(limits.get(origin) ?? Number.POSITIVE_INFINITY, target.concurrency))
  }
  return limits
}
