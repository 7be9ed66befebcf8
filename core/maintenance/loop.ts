// Runs a step again and again: when it says that it should, when it is woken, and, if it failed, after a while.

import type { OnEvent } from '../dispatch/events.ts'
import { Signal } from '../signal.ts'

const FIRST_WAIT_MS = 200
const LONGEST_WAIT_MS = 10_000

/** A loop around `runOnce`, which answers after how many milliseconds it wants to be called again. */
export class Loop {
  readonly #name: string
  readonly #runOnce: () => Promise<number>
  readonly #onEvent: OnEvent
  readonly #signal = new Signal()
  #stopping = false
  #running: Promise<void> | undefined

  constructor(name: string, runOnce: () => Promise<number>, onEvent: OnEvent) {
    this.#name = name
    this.#runOnce = runOnce
    this.#onEvent = onEvent
  }

  start(): void {
    this.#running = this.#run()
  }

  wake(): void {
    this.#signal.notify()
  }

  /** Resolves when the step under way is done. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.wake()
    await this.#running
  }

  async #run(): Promise<void> {
    let failures = 0
    while (!this.#stopping) {
      const wait = await this.#runOnce().then(
        ms => {
          failures = 0
          return ms
        },
        error => {
          this.#onEvent({ type: 'error', during: this.#name, error })
          return Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** failures++)
        },
      )
      if (!this.#stopping && wait > 0) await this.#signal.wait(wait)
    }
  }
}
