// Puts what became of a job in hand on record, and tells of it: closed, parked, or waiting for an event.

import type { Outcome } from '../engine.ts'
import type { ClaimedJob } from '../engine-rows.ts'
import type { WaitRequest } from '../waits/register.ts'
import type { Closer } from './closer.ts'
import type { OnEvent } from './events.ts'
import type { Verdict } from './verdict.ts'

export class Recorder {
  readonly #closer: Closer
  readonly #onEvent: OnEvent

  constructor(closer: Closer, onEvent: OnEvent) {
    this.#closer = closer
    this.#onEvent = onEvent
  }

  /** Resolves once it is on record, whoever closed the attempt. */
  async record(job: ClaimedJob, verdict: Verdict): Promise<void> {
    const { id, kind, attempt } = job
    if (verdict.do === 'close') return this.#close(job, verdict.outcome)
    if (verdict.do === 'wait') return this.#wait(job, verdict.wait)
    await this.#closer.park(job, verdict.timeoutSeconds)
    const { code } = verdict
    this.#onEvent({ type: 'parked', job: id, kind, attempt, ...(code !== undefined && { code }) })
  }

  async #wait(job: ClaimedJob, wait: WaitRequest): Promise<void> {
    const { segment, id, kind, attempt } = job
    try {
      const waited = await this.#closer.wait({ segment, id, attempt, ...wait })
      const type = waited.answer === 'waiting' ? 'waiting' : 'closed'
      if (type === 'waiting') return this.#onEvent({ type, job: id, kind, attempt, name: wait.name })
      const state = 'state' in waited ? waited.state : 'unknown'
      this.#onEvent({ type, job: id, kind, attempt, state, fresh: waited.answer === 'applied' })
    } catch (error) {
      const message = `the wait cannot be stored: ${error instanceof Error ? error.message : String(error)}`
      await this.#close(job, { kind: 'failed', retryable: false, error: { code: 'invalid_wait', message } })
    }
  }

  async #close(job: ClaimedJob, outcome: Outcome): Promise<void> {
    const { segment, id, kind, attempt } = job
    const { state, fresh } = await this.#closer.close({ segment, id, attempt, outcome })
    const error = 'error' in outcome ? outcome.error : undefined
    this.#onEvent({ type: 'closed', job: id, kind, attempt, state, fresh, ...error })
  }
}
