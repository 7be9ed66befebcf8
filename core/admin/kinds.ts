// Kinds: how many jobs there are of each.

import type { Calls } from './calls.ts'
import type { KindStats } from './stats.ts'

export class Kinds {
  readonly #calls: Calls

  constructor(calls: Calls) {
    this.#calls = calls
  }

  /** All of them, by name, at a bounded cost. */
  async list(): Promise<KindStats[]> {
    return this.#calls.rows('kind_stats()')
  }
}
