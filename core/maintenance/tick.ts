// One bounded slice of everything the maintenance role does, for a platform that has no long-running processes: a cron calls
// it, and between two calls the database is asked nothing.

import { Dispatcher } from '../dispatch/dispatcher.ts'
import type { MaintenanceEvent, OnEvent } from '../dispatch/events.ts'
import { Idle } from '../dispatch/idle.ts'
import { MaintenanceEngine } from '../maintenance-engine.ts'
import { SqlEngine } from '../sql-engine.ts'
import type { ChoreStep } from './chore.ts'
import { CHORES } from './chores.ts'
import { Leadership } from './leadership.ts'
import { Loop } from './loop.ts'
import { checkOptions, type SendingOptions, senderOf } from './options.ts'
import { Presence } from './presence.ts'
import { type Promoted, promoteOnce } from './promote.ts'
import { rescueOnce } from './rescue.ts'
import { Schedules } from './schedules.ts'

export interface TickOptions extends SendingOptions {
  /** How long it may take, in milliseconds. Give the platform's own limit a few seconds more. */
  readonly budgetMs: number
  /** Claims no more once it has claimed so many, for a platform that counts requests; up to a batch more. No limit unless given. */
  readonly maxJobs?: number | undefined
  /** Promotes and dispatches, and nothing else: ticks without it, or somebody else, must rescue and lead. */
  readonly onlyDispatch?: boolean | undefined
}

/** What a tick came to. */
export interface TickSummary {
  /** Deferred jobs that were made available. */
  readonly promoted: number
  /** Attempts that nobody would have closed. */
  readonly rescued: number
  readonly claimed: number
  readonly dispatched: number
  /** Attempts whose end is on record. */
  readonly closed: number
  /** Attempts that functions accepted and will call back for. */
  readonly parked: number
  /** Jobs of schedules. */
  readonly fired: number
  /** The budget was over before the work: tick again soon. */
  readonly more: boolean
}

/** The last part of the budget is for what is in flight. */
const CLAIMING_SHARE = 0.75
/** Nothing new is begun for the rest of the budget when it is shorter than that. */
const LEAST_SLICE_MS = 50
/** While requests are in flight: when to look for more work. */
const LOOK_AGAIN_MS = 500
/** Chores may take a long statement each; the lease outlives the budget by that. */
const LEASE_MARGIN_SECONDS = 30

/**
 * Promotes, rescues, fires schedules, does the leader's chores if nobody leads, and dispatches, until nothing is left or the
 * budget is over. Then it waits for what is in flight, hands back what was not sent (which costs no attempt), and leaves
 * nothing running. Any number of ticks and maintenance processes may work at once.
 *
 * Whoever is killed in the middle of it loses nothing: what it had in hand is retried after the setting
 * runtime_lost_seconds, by the next tick.
 *
 * @throws {MillraceError} `invalid_keyring`, `invalid_configuration`; what the database throws, once nothing runs any more
 */
export async function tick(options: TickOptions): Promise<TickSummary> {
  checkOptions(options)
  const slice = new Slice(options)
  return await slice.run()
}

class Slice {
  readonly #options: TickOptions
  readonly #engine: SqlEngine
  readonly #maintenance: MaintenanceEngine
  readonly #presence: Presence
  readonly #leadership: Leadership
  readonly #schedules: Schedules
  readonly #count = { promoted: 0, rescued: 0, claimed: 0, dispatched: 0, closed: 0, parked: 0, fired: 0 }
  readonly #startedAt = performance.now()
  /** Something was left for want of time. */
  #more = false

  constructor(options: TickOptions) {
    const { sql, name = 'tick' } = options
    const schema = options.schema === undefined ? {} : { schema: options.schema }
    this.#options = options
    this.#engine = new SqlEngine(sql, schema)
    this.#maintenance = new MaintenanceEngine(sql, schema)
    this.#presence = new Presence(this.#engine, name)
    this.#leadership = new Leadership(this.#maintenance, name, this.#onEvent)
    this.#schedules = new Schedules({ sql, ...schema, onEvent: this.#onEvent })
  }

  async run(): Promise<TickSummary> {
    if (!this.#options.onlyDispatch) {
      await this.#rescueAll()
      await this.#leadForAWhile()
    }
    await this.#promoteAll()
    await this.#dispatch()
    return { ...this.#count, more: this.#more }
  }

  /** Milliseconds until the budget is over. */
  #left(): number {
    return this.#startedAt + this.#options.budgetMs - performance.now()
  }

  /** The part of it that is for what is in flight. */
  get #reserve(): number {
    return this.#options.budgetMs * (1 - CLAIMING_SHARE)
  }

  /** Repeats `step` while it answers that there is more to do, within the part of the budget that is for new work. */
  async #repeat(step: () => Promise<boolean>): Promise<void> {
    let more = true
    while (more && this.#left() - this.#reserve > LEAST_SLICE_MS) more = await step()
    if (more) this.#more = true
  }

  #rescueAll(): Promise<void> {
    return this.#repeat(async () => {
      const { rescued, more } = await rescueOnce(this.#engine, this.#onEvent)
      this.#count.rescued += rescued
      return more
    })
  }

  #promoteAll(): Promise<void> {
    return this.#repeat(async () => (await this.#promoteOnce()).nextInMs === 0)
  }

  async #promoteOnce(): Promise<Promoted> {
    const done = await promoteOnce(this.#engine, this.#onEvent)
    this.#count.promoted += done.promoted
    return done
  }

  /** Where somebody else leads, that one does it. */
  async #leadForAWhile(): Promise<void> {
    const leaseSeconds = this.#options.budgetMs / 1_000 + LEASE_MARGIN_SECONDS
    try {
      this.#leadership.learn(await this.#maintenance.lead(this.#leadership.holder, leaseSeconds))
      if (this.#leadership.epoch === undefined) return
      await this.#repeat(async () => (await this.#leadership.lead(epoch => this.#schedules.runOnce(epoch))) === 0)
      for (const chore of CHORES) await this.#repeat(() => this.#chore(chore))
    } finally {
      await this.#leadership.resign()
    }
  }

  async #chore(step: ChoreStep): Promise<boolean> {
    const done = await this.#leadership.lead(epoch => step.runOnce(this.#maintenance, epoch, this.#onEvent))
    return done?.more ?? false
  }

  async #dispatch(): Promise<void> {
    const dispatcher = this.#makeDispatcher()
    await this.#presence.register()
    const beating = new Loop(
      'beat',
      async () => (await this.#engine.runtimeBeat(this.#presence.runtime)) ?? 1_000,
      this.#onEvent,
    )
    beating.start((await this.#engine.runtimeBeat(this.#presence.runtime)) ?? 0)
    try {
      await this.#repeat(() => this.#claimOnce(dispatcher))
    } finally {
      await dispatcher.stop(Math.max(0, this.#left()))
      await beating.stop()
      // With jobs on record that were never seen here, the row has to stay, for rescue to find them.
      if (!dispatcher.unsure) await this.#presence.signOff()
    }
  }

  /** Answers false when nothing is left to claim, nothing in hand, and nothing has come due. */
  async #claimOnce(dispatcher: Dispatcher): Promise<boolean> {
    const isFull = this.#count.claimed >= (this.#options.maxJobs ?? Number.POSITIVE_INFINITY)
    if (isFull) this.#more = true
    else if ((await dispatcher.runOnce(this.#presence.runtime)) > 0) return true
    if (dispatcher.inHand === 0) return !isFull && (await this.#promoteOnce()).promoted > 0
    await dispatcher.settles(Math.min(LOOK_AGAIN_MS, this.#left() - this.#reserve))
    return true
  }

  #makeDispatcher(): Dispatcher {
    const { transport, lambdaInvoker, inHand, batch, ambiguitySeconds } = this.#options
    return new Dispatcher({
      engine: this.#engine,
      transport,
      lambdaInvoker,
      sender: senderOf(this.#options),
      credentials: this.#options,
      idle: new Idle(this.#engine, this.#onEvent),
      onEvent: this.#onEvent,
      renewRuntime: () => this.#presence.renew(),
      inHand,
      batch,
      ambiguitySeconds,
    })
  }

  readonly #onEvent: OnEvent = (event: MaintenanceEvent) => {
    if (event.type === 'claimed') this.#count.claimed += event.jobs
    if (event.type === 'fired') this.#count.fired += event.jobs
    if (event.type === 'dispatched' || event.type === 'parked') this.#count[event.type]++
    if (event.type === 'closed' && event.fresh && event.state !== 'available') this.#count.closed++
    this.#options.onEvent?.(event)
  }
}
