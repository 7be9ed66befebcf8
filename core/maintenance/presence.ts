// The rows under which a process is known: the one it claims under, and earlier ones of which it still has jobs in hand.

import type { SqlEngine } from '../sql-engine.ts'

export class Presence {
  readonly #engine: SqlEngine
  readonly #name: string
  #runtime = ''
  /** Kept alive for as long as jobs of theirs are in hand. */
  readonly #retired = new Set<string>()

  constructor(engine: SqlEngine, name: string) {
    this.#engine = engine
    this.#name = name
  }

  get runtime(): string {
    return this.#runtime
  }

  async register(): Promise<void> {
    this.#runtime = await this.#engine.runtimeStart(this.#name)
  }

  /** Goes on under another id. */
  async renew(): Promise<void> {
    const before = this.#runtime
    await this.register()
    this.#retired.add(before)
  }

  /** Says that the earlier ones live, and forgets those of which nothing is in hand. */
  async beatRetired(holds: (runtime: string) => boolean): Promise<void> {
    for (const runtime of this.#retired) {
      if (holds(runtime)) await this.#engine.runtimeBeat(runtime)
      else this.#retired.delete(runtime)
    }
  }

  async signOff(): Promise<void> {
    await this.#engine.runtimeStop(this.#runtime)
  }
}
