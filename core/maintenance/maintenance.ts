// The maintenance role: dispatches, promotes what is due, rescues what was lost, leads if nobody else does.

import { Dispatcher } from '../dispatch/dispatcher.ts'
import type { MaintenanceEvent } from '../dispatch/events.ts'
import { Idle } from '../dispatch/idle.ts'
import { MaintenanceEngine } from '../maintenance-engine.ts'
import { SqlEngine } from '../sql-engine.ts'
import { Duties } from './duties.ts'
import { Leadership } from './leadership.ts'
import { Loop } from './loop.ts'
import { Meter } from './meter.ts'
import { checkOptions, type MaintenanceOptions, type SendingOptions, senderOf } from './options.ts'
import { Presence } from './presence.ts'
import { Pulse } from './pulse.ts'
import { Schedules } from './schedules.ts'

export type { MaintenanceOptions } from './options.ts'

/** What `wake()` in migrations/functions/wake.sql notifies. */
const CHANNEL = 'millrace_wake'

export class Maintenance {
  readonly #options: MaintenanceOptions
  readonly #meter: Meter
  readonly #idle: Idle
  readonly #presence: Presence
  readonly #leadership: Leadership | undefined
  readonly #dispatcher: Dispatcher | undefined
  readonly #duties: Duties | undefined
  readonly #pulse: Pulse
  readonly #pulsing: Loop
  /** In the place of a dispatcher's: falls asleep and is woken. */
  readonly #watching: Loop | undefined
  #dispatching: Promise<void> | undefined
  #unlisten: (() => Promise<void>) | undefined

  /** @throws {MillraceError} `invalid_keyring`, `invalid_configuration` */
  constructor(options: MaintenanceOptions) {
    checkOptions(options)
    this.#options = options
    const { name = 'maintenance', noDispatch, onlyDispatch } = options
    this.#meter = new Meter(options.sql, this.#onEvent)
    const schema = options.schema === undefined ? {} : { schema: options.schema }
    const engine = new SqlEngine(this.#meter, schema)
    const maintenance = new MaintenanceEngine(this.#meter, schema)
    const idle = new Idle(engine, this.#onEvent)
    this.#idle = idle
    this.#presence = new Presence(engine, name)
    if (!onlyDispatch) {
      const leadership = new Leadership(maintenance, name, this.#onEvent)
      const schedules = new Schedules({ sql: this.#meter, ...schema, onEvent: this.#onEvent })
      const fire = (epoch: string) => schedules.runOnce(epoch)
      this.#leadership = leadership
      this.#duties = new Duties({ engine, maintenance, fire, leadership, idle, onEvent: this.#onEvent })
    }
    if (noDispatch) this.#watching = new Loop('sleep', () => idle.rest().then(() => 0), this.#onEvent)
    else this.#dispatcher = this.#makeDispatcher(engine, options as SendingOptions)
    this.#pulse = new Pulse({
      engine: maintenance,
      presence: this.#presence,
      idle,
      meter: this.#meter,
      leadership: this.#leadership,
      dispatcher: this.#dispatcher,
      register: () => this.#register(),
      onAnswer: answer => this.#duties?.tell(answer),
      awakeMs: options.pulseMs,
      asleepMs: options.asleepPulseMs,
    })
    this.#pulsing = new Loop('pulse', () => this.#pulse.runOnce(), this.#onEvent)
  }

  /** Registers, starts listening and works from then on. Rejects when the database cannot be used. */
  async start(): Promise<void> {
    await this.#dispatcher?.reload()
    this.#unlisten = await this.#options.listener?.listen(CHANNEL, payload => this.#heard(payload))
    await this.#register()
    this.#dispatching = this.#dispatcher?.run(() => this.#presence.runtime)
    this.#watching?.start()
    this.#pulsing.start()
    this.#duties?.start()
  }

  /**
   * Drains: claims nothing more, hands back what has not been sent, lets what is in flight finish for at most
   * `timeoutMs` (25,000), puts every outcome on record, hands the lead over and signs off.
   */
  async stop(timeoutMs = 25_000): Promise<void> {
    const draining = this.#dispatcher?.stop(timeoutMs)
    await this.#dispatching
    await draining
    this.#idle.wake()
    await Promise.all([this.#watching?.stop(), this.#duties?.stop(), this.#pulsing.stop()])
    this.#meter.wakes()
    await this.#signOff().catch(error => this.#failed('sign off', error))
  }

  #makeDispatcher(engine: SqlEngine, options: SendingOptions): Dispatcher {
    return new Dispatcher({
      engine,
      transport: options.transport,
      lambdaInvoker: options.lambdaInvoker,
      sender: senderOf(options),
      credentials: options,
      idle: this.#idle,
      onEvent: this.#onEvent,
      renewRuntime: () => this.#renew(),
      inHand: options.inHand,
      batch: options.batch,
      ambiguitySeconds: options.ambiguitySeconds,
    })
  }

  /** Where it fails, rescue does it later, and the lease ends by itself. */
  async #signOff(): Promise<void> {
    // With jobs on record that were never seen here, the row has to stay, for rescue to find them.
    if (!this.#dispatcher?.unsure) await this.#presence.signOff()
    await this.#leadership?.resign()
    await this.#unlisten?.()
  }

  async #register(): Promise<void> {
    await this.#presence.register()
    this.#idle.begin(this.#presence.runtime, this.#options.listener !== undefined)
  }

  async #renew(): Promise<void> {
    await this.#presence.renew()
    this.#idle.begin(this.#presence.runtime, this.#options.listener !== undefined)
  }

  /** Without a payload: of work, or of deferred jobs. */
  #heard(payload: string): void {
    if (payload === 'manifest') void this.#reload()
    if (payload !== '') this.#pulsing.wake()
    this.#idle.wake()
    this.#duties?.wake()
  }

  async #reload(): Promise<void> {
    try {
      await this.#dispatcher?.reload()
      this.#onEvent({ type: 'reloaded' })
    } catch (error) {
      this.#failed('reload', error)
    }
  }

  readonly #onEvent = (event: MaintenanceEvent): void => {
    if (event.type === 'claimed') this.#pulse.claimed()
    // Somebody who sleeps is taken for dead later than somebody who works.
    // A pulse tells of the next deadline only: once that one is over, the one after it has to be asked for.
    if (['claimed', 'awake', 'rescued'].includes(event.type) && this.#pulse.asleep) this.#pulsing.wake()
    this.#options.onEvent?.(event)
  }

  #failed(during: string, error: unknown): void {
    this.#onEvent({ type: 'error', during, error })
  }
}
