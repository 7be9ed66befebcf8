// Runs a step again and again: when it says that it should, when it is told that it is due, and, if it failed, after a while.

import type { OnEvent } from '../dispatch/events.ts'
import { Signal } from '../signal.ts'

const FIRST_WAIT_MS = 200
const LONGEST_WAIT_MS = 10_000
/** Longer than that no timer waits; a loop that is woken too early looks at the clock and goes on waiting. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** Answered by a step that is called again only when it is due or woken. */
export const WHEN_TOLD = Number.POSITIVE_INFINITY

/** A loop around `runOnce`, which answers after how many milliseconds it wants to be called again. */
export class Loop {
  readonly #name: string
  readonly #runOnce: () => Promise<number>
  readonly #onEvent: OnEvent
  readonly #signal = new Signal()
  /** By performance.now(). */
  #nextAt = 0
  #stopping = false
  #running: Promise<void> | undefined

  constructor(name: string, runOnce: () => Promise<number>, onEvent: OnEvent) {
    this.#name = name
    this.#runOnce = runOnce
    this.#onEvent = onEvent
  }

  /** With the first step `inMs` from now. */
  start(inMs = 0): void {
    this.#nextAt = performance.now() + inMs
    this.#running = this.#run()
  }

  /** Runs now, or once more after the step under way. */
  wake(): void {
    this.dueIn(0)
  }

  /** Runs after `ms` milliseconds at the latest. */
  dueIn(ms: number): void {
    const at = performance.now() + ms
    if (at >= this.#nextAt) return
    this.#nextAt = at
    this.#signal.notify()
  }

  /** Resolves when the step under way is done. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.#signal.notify()
    await this.#running
  }

  async #run(): Promise<void> {
    let failures = 0
    while (!this.#stopping) {
      const left = this.#nextAt - performance.now()
      if (left > 0) {
        await this.#signal.wait(Math.min(left, LONGEST_TIMER_MS))
        continue
      }
      // Whoever tells that it is due while the step is under way may mean what it can no longer see.
      this.#nextAt = Number.POSITIVE_INFINITY
      try {
        const again = await this.#runOnce()
        failures = 0
        this.dueIn(again)
      } catch (error) {
        this.#onEvent({ type: 'error', during: this.#name, error })
        this.dueIn(Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** failures++))
      }
    }
  }
}
