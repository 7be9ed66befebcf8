// What the leader does now and then: when a pulse says that there may be something to do, and more and more rarely while there
// turns out to be nothing.

import type { OnEvent } from '../dispatch/events.ts'
import type { Chore, MaintenanceEngine } from '../maintenance-engine.ts'

/** One of the leader's chores; each has a file of its own. */
export interface ChoreStep {
  readonly name: Chore
  /** Milliseconds between two runs at least, unless there is more to do at once. */
  readonly leastMs: number
  /** Milliseconds between two runs that did nothing at most. */
  readonly mostMs: number
  /** @throws {MillraceError} `not_leader` */
  runOnce(engine: MaintenanceEngine, epoch: string, onEvent: OnEvent): Promise<ChoreDone>
}

/** What a run came to: how much it did, and whether there may be more to do at once. */
export interface ChoreDone {
  readonly did: number
  readonly more?: boolean
}

export class ChoreTimer {
  readonly #leastMs: number
  readonly #mostMs: number
  #fruitless = 0
  #notBefore = 0

  constructor({ leastMs, mostMs }: Pick<ChoreStep, 'leastMs' | 'mostMs'>) {
    this.#leastMs = leastMs
    this.#mostMs = mostMs
  }

  /** It is due: in how many milliseconds to run. */
  dueMs(now: number): number {
    return Math.max(0, this.#notBefore - now)
  }

  /** Notes what a run came to. */
  ran({ did, more = false }: ChoreDone, now: number): void {
    this.#fruitless = did > 0 ? 0 : this.#fruitless + 1
    const pause = this.#leastMs * 2 ** Math.max(0, this.#fruitless - 1)
    this.#notBefore = more ? now : now + Math.min(this.#mostMs, pause)
  }
}
