// Whether this process leads, as far as it knows. The database has the last word: it refuses an epoch that is over.

import type { OnEvent } from '../dispatch/events.ts'
import { MillraceError } from '../errors.ts'
import type { MaintenanceEngine } from '../maintenance-engine.ts'

export class Leadership {
  /** One name per process, so that nobody renews what somebody else was given. */
  readonly holder: string
  readonly #engine: MaintenanceEngine
  readonly #onEvent: OnEvent
  #epoch: string | undefined

  constructor(engine: MaintenanceEngine, name: string, onEvent: OnEvent) {
    this.#engine = engine
    this.#onEvent = onEvent
    this.holder = `${name} ${crypto.randomUUID()}`
  }

  /** What it leads under; undefined: it does not. */
  get epoch(): string | undefined {
    return this.#epoch
  }

  /** What the database says. */
  learn(epoch: string | undefined): void {
    const before = this.#epoch
    this.#epoch = epoch
    if (before === epoch) return
    if (before !== undefined) this.#onEvent({ type: 'deposed', epoch: before })
    if (epoch !== undefined) this.#onEvent({ type: 'leading', epoch })
  }

  /** Does what only the leader may do; answers undefined without doing it when this process does not lead (any more). */
  async lead<T>(work: (epoch: string) => Promise<T>): Promise<T | undefined> {
    const epoch = this.#epoch
    if (epoch === undefined) return undefined
    try {
      return await work(epoch)
    } catch (error) {
      if (!(error instanceof MillraceError && error.code === 'not_leader')) throw error
      if (this.#epoch === epoch) this.learn(undefined)
      return undefined
    }
  }

  /** Lets somebody else lead at once. Also what it was given without having heard of it, when an answer got lost, goes back. */
  async resign(): Promise<void> {
    this.#epoch = undefined
    await this.#engine.resign(this.holder)
  }
}
