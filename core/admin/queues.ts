// Queues: how they stand, pause, resume, drain.

import type { Calls } from './calls.ts'
import type { QueueStats } from './stats.ts'

/** What one statement cancels. */
const CHUNK = 1_000

export class Queues {
  readonly #calls: Calls

  constructor(calls: Calls) {
    this.#calls = calls
  }

  /** All of them, by name, at a bounded cost. */
  async list(): Promise<QueueStats[]> {
    return this.#calls.rows('queue_stats()')
  }

  /** Nothing of the queue is claimed from now on; what runs goes on. `by`: who says so, for the record. @throws {MillraceError} `invalid_queue` */
  async pause(name: string, by?: string): Promise<void> {
    const actor = this.#calls.by
    await this.#calls.value('pause_queue($1::text, $2::text, $3::text)', [name, by ?? actor, actor])
  }

  /** Answers whether it was paused. */
  async resume(name: string): Promise<boolean> {
    return (await this.#calls.value<boolean>('resume_queue($1::text, $2::text)', [name, this.#calls.by])) ?? false
  }

  /**
   * Cancels all jobs of the queue that do not run, in chunks of 1000, each a transaction unless the caller's is one. Answers
   * how many. Pause the queue first, or what is enqueued meanwhile is cancelled too.
   */
  async drain(name: string, reason = 'drained'): Promise<number> {
    let cancelled = 0
    for (let more = true; more; ) {
      const [done] = await this.#calls.rows<{ cancelled: number; more: boolean }>(
        'drain_queue($1::text, $2::text::int, $3::text, $4::text)',
        [name, CHUNK, reason, this.#calls.by],
      )
      cancelled += done?.cancelled ?? 0
      more = done?.more ?? false
    }
    return cancelled
  }
}
