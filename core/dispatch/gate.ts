// Bounds the requests in flight to one target and slows down when the target says that it is too much.

/** A unit of work that holds a place until its promise settles; called with false when it was withdrawn instead. */
type Task = (go: boolean) => Promise<void>

/**
 * At most `limit` tasks at once. A throttled target halves the limit and pauses; each success after that widens it again
 * by a share, so that a whole round of successes adds one.
 */
export class Gate {
  #most: number
  #limit: number
  #inFlight = 0
  #waiting: Task[] = []
  #pausedUntil = 0
  #tired = false
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(most: number) {
    this.#most = most
    this.#limit = most
  }

  /** Milliseconds until the target may be tried again; 0 when it may be now. */
  pausedFor(now: number): number {
    return Math.max(0, this.#pausedUntil - now)
  }

  /** True from {@link giveUp} until there is a place again. */
  get isBusy(): boolean {
    return this.#tired && this.#isFull
  }

  /** Somebody has waited for too long: withdraws all that wait, unless it is a pause that they wait for. */
  giveUp(): void {
    if (!this.#isFull) return
    this.#tired = true
    this.withdraw()
  }

  /** Starts the task as soon as there is a place. */
  add(task: Task): void {
    this.#waiting.push(task)
    this.#pump()
  }

  /** Sets how many may be in flight at most, as declared now. */
  resize(most: number): void {
    if (most === this.#most) return
    // A throttled target stays slowed down; one that is not goes as wide as it may.
    this.#limit = this.#limit < this.#most ? Math.min(this.#limit, most) : most
    this.#most = most
    this.#pump()
  }

  succeeded(): void {
    if (this.#limit < this.#most) this.#limit = Math.min(this.#most, this.#limit + 1 / this.#limit)
  }

  throttled(pauseMs: number, now: number): void {
    // The answers of one burst are one complaint.
    if (this.pausedFor(now) === 0) this.#limit = Math.max(1, this.#limit / 2)
    this.#pausedUntil = Math.max(this.#pausedUntil, now + pauseMs)
  }

  /** Tells every task that has not begun that it will not. */
  withdraw(): void {
    const tasks = this.#waiting
    this.#waiting = []
    clearTimeout(this.#timer)
    for (const task of tasks) void task(false)
  }

  get #isFull(): boolean {
    return this.#inFlight >= Math.floor(this.#limit)
  }

  #pump(): void {
    while (this.#waiting.length > 0 && !this.#isFull) {
      const pause = this.pausedFor(Date.now())
      if (pause > 0) {
        clearTimeout(this.#timer)
        this.#timer = setTimeout(() => this.#pump(), pause)
        return
      }
      this.#start(this.#waiting.shift() as Task)
    }
  }

  #start(task: Task): void {
    this.#inFlight++
    void task(true).finally(() => {
      this.#inFlight--
      this.#pump()
      if (!this.#isFull) this.#tired = false
    })
  }
}
