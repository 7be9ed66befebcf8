// Something to wait for: one side notifies, the other waits, for a bounded time.

export class Signal {
  #notified = false
  #waiters: (() => void)[] = []

  /** True while somebody waits. */
  get awaited(): boolean {
    return this.#waiters.length > 0
  }

  /** Wakes who waits now or, if nobody does, the next who comes. */
  notify(): void {
    const waiters = this.#waiters
    this.#waiters = []
    this.#notified = waiters.length === 0
    for (const wake of waiters) wake()
  }

  /** Resolves true when notified, false after `ms` milliseconds. */
  async wait(ms: number): Promise<boolean> {
    if (this.#notified) {
      this.#notified = false
      return true
    }
    return await new Promise(resolve => {
      const timer = setTimeout(
        () => {
          this.#waiters = this.#waiters.filter(waiter => waiter !== wake)
          resolve(false)
        },
        Math.max(0, ms),
      )
      const wake = () => {
        clearTimeout(timer)
        resolve(true)
      }
      this.#waiters.push(wake)
    })
  }
}
