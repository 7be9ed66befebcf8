// Asks the database now and then, in one statement, what is due, and says that this process lives. While it sleeps with nothing
// in hand nothing else is asked.

import type { Idle } from '../dispatch/idle.ts'
import type { MaintenanceEngine, PulseAnswer } from '../maintenance-engine.ts'
import type { Leadership } from './leadership.ts'
import type { Meter } from './meter.ts'
import type { Presence } from './presence.ts'

export interface PulseOptions {
  readonly engine: MaintenanceEngine
  readonly presence: Presence
  readonly idle: Idle
  readonly meter: Meter
  /** Undefined: this process does not want to lead. */
  readonly leadership: Leadership | undefined
  readonly dispatcher:
    | { readonly inHand: number; readonly unsure: boolean; holds(runtime: string): boolean }
    | undefined
  /** Its runtime was given up. */
  readonly register: () => Promise<void>
  readonly onAnswer: (answer: PulseAnswer) => void
  readonly awakeMs?: number | undefined
  readonly asleepMs?: number | undefined
}

const AWAKE_MS = 2_000
const ASLEEP_MS = 40_000
/** Pulses between two looks at work that nobody could claim, such as in a queue that is full, at most. */
const MOST_SKIPPED = 4

export class Pulse {
  readonly #options: PulseOptions
  #asleep = false
  /** When the lease of somebody else was to end, at the last pulse. */
  #leaseEnd = 0
  /** Pulses that told of work while nothing was claimed: after 1, 2, 4 ... of them it is looked at again. */
  #inVain = 0

  constructor(options: PulseOptions) {
    this.#options = options
  }

  /** True when the last pulse said that there is nothing to do: the next one should follow at once when there is. */
  get asleep(): boolean {
    return this.#asleep
  }

  /** Something was claimed: work that waits is work that can be had. */
  claimed(): void {
    this.#inVain = 0
  }

  /** Answers in how many milliseconds to pulse again. */
  async runOnce(): Promise<number> {
    const { engine, presence, idle, meter, leadership, dispatcher } = this.#options
    const busy = dispatcher !== undefined && (dispatcher.inHand > 0 || dispatcher.unsure)
    const asleep = idle.asleep && !busy
    this.#asleep = asleep
    if (asleep) meter.sleeps()
    else meter.wakes()
    const everyMs = asleep ? (this.#options.asleepMs ?? ASLEEP_MS) : (this.#options.awakeMs ?? AWAKE_MS)
    const { runtime } = presence
    const answer = await engine.pulse({ runtime, holder: leadership?.holder, everyMs, asleep })
    leadership?.learn(answer.epoch)
    await presence.beatRetired(runtime => dispatcher?.holds(runtime) ?? false)
    this.#options.onAnswer(answer)
    if (answer.work && this.#worthALook()) idle.nudge()
    if (answer.beatMs !== undefined) return Math.min(answer.beatMs, this.#untilLeaseEnds(answer.leaseMs, asleep))
    if (presence.runtime === runtime) await this.#options.register()
    return 0
  }

  #worthALook(): boolean {
    this.#inVain++
    return this.#inVain % MOST_SKIPPED === 0 || (this.#inVain & (this.#inVain - 1)) === 0
  }

  /** One who sleeps looks only at a lease that was not renewed since the last pulse; most are. */
  #untilLeaseEnds(leaseMs: number | undefined, asleep: boolean): number {
    if (leaseMs === undefined) return Number.POSITIVE_INFINITY
    const end = performance.now() + leaseMs
    const renewed = Math.abs(end - this.#leaseEnd) > 1_000
    this.#leaseEnd = end
    return asleep && renewed ? Number.POSITIVE_INFINITY : Math.max(10, leaseMs)
  }
}
