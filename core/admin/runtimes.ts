// Who is at work: dispatchers and leaders.

import type { Calls } from './calls.ts'

/** A dispatcher. Times are ISO 8601. */
export interface RuntimeView {
  readonly id: number
  readonly name: string
  readonly started_at: string
  readonly seen_at: string
  /** From then on it counts as dead unless it is seen before. */
  readonly lost_at: string
  readonly sleeping: boolean
  readonly alive: boolean
}

/** Who holds a lease. */
export interface LeaderView {
  readonly name: string
  readonly holder: string
  /** Grows with every change of hands. */
  readonly epoch: number
  /** Null: the holder has resigned. */
  readonly until: string | null
  /** False: the lease is over, and free to be taken. */
  readonly alive: boolean
}

export class Runtimes {
  readonly #calls: Calls

  constructor(calls: Calls) {
    this.#calls = calls
  }

  list(): Promise<RuntimeView[]> {
    return this.#calls.rows('list_runtimes()')
  }

  leaders(): Promise<LeaderView[]> {
    return this.#calls.rows('list_leaders()')
  }
}
