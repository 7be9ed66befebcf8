// What a dispatcher has in hand, and how much more it should claim.
//
// It claims ahead, so that requests need not wait for the database, but no further than it needs to: what waits here is
// out of reach of other dispatchers. So it looks at how many requests began while the last claim was under way, and
// wants a few times that waiting. A queue whose jobs pile up here, since their target is slow, is left out of the next claims.

import { Signal } from '../signal.ts'

/** So many jobs are wanted waiting at least; a quarter of the hands if that is less, or one queue could fill them. */
const LEAST_AHEAD = 50

export class Hands {
  readonly #most: number
  readonly #batch: number
  readonly #least: number
  readonly #onRoomInQueue: () => void
  readonly #room = new Signal()
  readonly #waiting = new Map<string, number>()
  #jobs = 0
  #begun = 0
  #ahead: number

  /** At most `most` jobs in hand, claimed in batches of at most `batch`. Tells when a crowded queue no longer is. */
  constructor(most: number, batch: number, onRoomInQueue: () => void) {
    this.#onRoomInQueue = onRoomInQueue
    this.#most = most
    this.#batch = batch
    this.#least = Math.max(1, Math.min(LEAST_AHEAD, Math.floor(most / 4)))
    this.#ahead = this.#least
  }

  /** Jobs claimed and not yet settled. */
  get jobs(): number {
    return this.#jobs
  }

  /** How many jobs to claim now; 0 when it is not worth a claim. */
  room(): number {
    let waiting = 0
    for (const jobs of this.#waiting.values()) if (jobs < this.#ahead) waiting += jobs
    const wanted = Math.min(2 * this.#ahead - waiting, this.#batch, this.#most - this.#jobs)
    return wanted >= Math.min(this.#ahead, this.#most / 2, this.#batch) ? Math.floor(wanted) : 0
  }

  /** Resolves when there may be room, or after a second. */
  async roomAgain(): Promise<void> {
    await this.#room.wait(1_000)
  }

  /** Queues to leave out of the next claim. */
  crowded(): string[] {
    return [...this.#waiting].flatMap(([queue, jobs]) => (jobs >= this.#ahead ? [queue] : []))
  }

  /** Does a claim and learns from how long it took, in requests begun meanwhile. */
  async claim<Job>(work: () => Promise<Job[]>): Promise<Job[]> {
    const before = this.#begun
    const jobs = await work()
    this.#jobs += jobs.length
    const paced = Math.max(2 * (this.#begun - before), this.#ahead * 0.9)
    this.#ahead = Math.max(this.#least, Math.min(paced, this.#most / 4))
    return jobs
  }

  waits(queue: string): void {
    this.#waiting.set(queue, (this.#waiting.get(queue) ?? 0) + 1)
  }

  waitsNoMore(queue: string): void {
    const jobs = (this.#waiting.get(queue) ?? 0) - 1
    if (jobs < this.#ahead && jobs + 1 >= this.#ahead) this.#onRoomInQueue()
    if (jobs <= 0) this.#waiting.delete(queue)
    else this.#waiting.set(queue, jobs)
    this.#begun++
    this.#tellRoom()
  }

  settled(): void {
    this.#jobs--
    this.#tellRoom()
  }

  #tellRoom(): void {
    if (this.#room.awaited && this.room() > 0) this.#room.notify()
  }
}
