// The maintenance role: dispatches, promotes what is due, rescues what was lost, and says that it lives.

import { Dispatcher, type DispatcherOptions } from '../dispatch/dispatcher.ts'
import type { MaintenanceEvent } from '../dispatch/events.ts'
import { Idle } from '../dispatch/idle.ts'
import type { Transport } from '../dispatch/transport.ts'
import { MillraceError } from '../errors.ts'
import { type Keyring, parseKeyring } from '../protocol/keyring.ts'
import type { Listener, Sql } from '../sql.ts'
import { SqlEngine } from '../sql-engine.ts'
import { Loop } from './loop.ts'

export interface MaintenanceOptions {
  readonly sql: Sql
  /** On a direct connection: work is noticed within milliseconds and an idle process asks nothing. Else it polls. */
  readonly listener?: Listener | undefined
  readonly transport: Transport
  /** The root keyring, or its text `kid:hex…`. */
  readonly keyring: Keyring | string
  /** Base URL of the callback ingress as functions reach it. Jobs in callback mode wait until there is one. */
  readonly callbackUrl?: string | undefined
  /** `/api/callbacks` unless given. */
  readonly callbackPrefix?: string | undefined
  /** Sends Awa's bearer header to functions: true. */
  readonly compatible?: boolean | undefined
  /** `millrace` unless given. */
  readonly schema?: string | undefined
  /** Shown in the runtime table. */
  readonly name?: string | undefined
  readonly inHand?: DispatcherOptions['inHand']
  readonly batch?: DispatcherOptions['batch']
  readonly ambiguitySeconds?: DispatcherOptions['ambiguitySeconds']
  /** How often it looks for attempts that nobody will close, in milliseconds: 2000, and 15,000 while asleep. */
  readonly rescueMs?: number | undefined
  /** How often it says that it lives, in milliseconds: a third of the setting runtime_lost_seconds, or more often. */
  readonly beatMs?: number | undefined
  readonly onEvent?: ((event: MaintenanceEvent) => void) | undefined
}

/** What `wake()` in migrations/functions/wake.sql notifies. */
const CHANNEL = 'millrace_wake'
const PROMOTE = { max: 1_000, awakeMs: 250, asleepMs: 60_000 }
const RESCUE = { max: 500, awakeMs: 2_000, asleepMs: 15_000 }

export class Maintenance {
  readonly #options: MaintenanceOptions
  readonly #engine: SqlEngine
  readonly #idle: Idle
  readonly #dispatcher: Dispatcher
  readonly #promote: Loop
  readonly #loops: readonly Loop[]
  readonly #onEvent: (event: MaintenanceEvent) => void
  /** Under which id it claims. */
  #runtime = ''
  /** Earlier ids, of which jobs may be in hand: kept alive for as long as that is so. */
  readonly #retired = new Set<string>()
  #dispatching: Promise<void> | undefined
  #unlisten: (() => Promise<void>) | undefined

  /** @throws {MillraceError} `invalid_keyring`, `invalid_configuration` (a callback URL that is none) */
  constructor(options: MaintenanceOptions) {
    const { keyring, callbackUrl, callbackPrefix, compatible = true, schema, onEvent = () => undefined } = options
    checkUrl(callbackUrl)
    this.#options = options
    this.#onEvent = onEvent
    this.#engine = new SqlEngine(options.sql, schema === undefined ? {} : { schema })
    this.#idle = new Idle(this.#engine, onEvent)
    this.#dispatcher = new Dispatcher({
      engine: this.#engine,
      transport: options.transport,
      sender: {
        keyring: typeof keyring === 'string' ? parseKeyring(keyring) : keyring,
        callbackBase: callbackUrl,
        callbackPrefix,
        compatible,
      },
      idle: this.#idle,
      onEvent,
      renewRuntime: () => this.#renew(),
      inHand: options.inHand,
      batch: options.batch,
      ambiguitySeconds: options.ambiguitySeconds,
    })
    this.#promote = new Loop('promote', () => this.#promoteOnce(), onEvent)
    this.#loops = [
      this.#promote,
      new Loop('rescue', () => this.#rescueOnce(), onEvent),
      new Loop('beat', () => this.#beatOnce(), onEvent),
    ]
  }

  /** Registers, starts listening and works from then on. Rejects when the database cannot be used. */
  async start(): Promise<void> {
    await this.#dispatcher.reload()
    this.#unlisten = await this.#options.listener?.listen(CHANNEL, payload => this.#heard(payload))
    await this.#register()
    this.#dispatching = this.#dispatcher.run(() => this.#runtime)
    for (const loop of this.#loops) loop.start()
  }

  /**
   * Drains: claims nothing more, hands back what has not been sent, lets what is in flight finish for at most
   * `timeoutMs` (25,000), puts every outcome on record and signs off.
   */
  async stop(timeoutMs = 25_000): Promise<void> {
    const draining = this.#dispatcher.stop(timeoutMs)
    await this.#dispatching
    await draining
    await Promise.all(this.#loops.map(loop => loop.stop()))
    await this.#signOff().catch(error => this.#failed('sign off', error))
  }

  /** Where it fails, rescue does it later. */
  async #signOff(): Promise<void> {
    // With jobs on record that were never seen here, the row has to stay, for rescue to find them.
    if (!this.#dispatcher.unsure) await this.#engine.runtimeStop(this.#runtime)
    await this.#unlisten?.()
  }

  async #register(): Promise<void> {
    this.#runtime = await this.#engine.runtimeStart(this.#options.name ?? 'maintenance')
    this.#idle.begin(this.#runtime, this.#options.listener !== undefined)
  }

  async #renew(): Promise<void> {
    const before = this.#runtime
    await this.#register()
    this.#retired.add(before)
  }

  #heard(payload: string): void {
    if (payload === 'manifest') void this.#reload()
    this.#idle.wake()
    this.#promote.wake()
  }

  async #reload(): Promise<void> {
    try {
      await this.#dispatcher.reload()
      this.#onEvent({ type: 'reloaded' })
    } catch (error) {
      this.#failed('reload', error)
    }
  }

  async #promoteOnce(): Promise<number> {
    // Before it looks: what comes once it has fallen asleep is told, what came earlier has to be seen.
    const { asleep } = this.#idle
    const { promoted, nextInMs } = await this.#engine.promote(PROMOTE.max)
    if (promoted > 0) {
      this.#onEvent({ type: 'promoted', jobs: promoted })
      this.#idle.wake()
    }
    if (promoted === PROMOTE.max) return 0
    return Math.min(asleep ? PROMOTE.asleepMs : PROMOTE.awakeMs, Math.max(1, nextInMs ?? PROMOTE.asleepMs))
  }

  async #rescueOnce(): Promise<number> {
    const rescued = await this.#engine.rescue(RESCUE.max)
    if (rescued.parked + rescued.lost > 0) {
      this.#onEvent({ type: 'rescued', ...rescued })
      this.#promote.wake()
    }
    return this.#options.rescueMs ?? (this.#idle.asleep ? RESCUE.asleepMs : RESCUE.awakeMs)
  }

  /** A runtime that was taken for dead comes back as a new one. */
  async #beatOnce(): Promise<number> {
    const dueMs = await this.#engine.runtimeBeat(this.#runtime)
    if (dueMs === undefined) await this.#register()
    for (const runtime of this.#retired) {
      if (this.#dispatcher.holds(runtime)) await this.#engine.runtimeBeat(runtime)
      else this.#retired.delete(runtime)
    }
    return dueMs === undefined ? 0 : Math.min(dueMs, this.#options.beatMs ?? dueMs)
  }

  #failed(during: string, error: unknown): void {
    this.#onEvent({ type: 'error', during, error })
  }
}

function checkUrl(url: string | undefined): void {
  if (url === undefined || /^https?:$/.test(URL.parse(url)?.protocol ?? '')) return
  throw new MillraceError('invalid_configuration', `The callback URL is not an absolute http(s) URL: ${url}`)
}
