// Counts the statements of a process, and tells how many it took to sleep.

import type { OnEvent } from '../dispatch/events.ts'
import type { Sql, SqlValue } from '../sql.ts'

export class Meter implements Sql {
  readonly #sql: Sql
  readonly #onEvent: OnEvent
  #statements = 0
  /** Since when it sleeps, and how many statements there were until then. */
  #since: { readonly at: number; readonly statements: number } | undefined

  constructor(sql: Sql, onEvent: OnEvent) {
    this.#sql = sql
    this.#onEvent = onEvent
  }

  query<Row>(text: string, params?: readonly SqlValue[]): Promise<Row[]> {
    this.#statements++
    return this.#sql.query<Row>(text, params)
  }

  /** Nothing to do from here on. */
  sleeps(): void {
    this.#since ??= { at: performance.now(), statements: this.#statements }
  }

  /** Something to do again. */
  wakes(): void {
    if (this.#since === undefined) return
    const seconds = (performance.now() - this.#since.at) / 1_000
    this.#onEvent({ type: 'slept', seconds, statements: this.#statements - this.#since.statements })
    this.#since = undefined
  }
}
