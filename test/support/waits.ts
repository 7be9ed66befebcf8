// Attempts that wait for the event `payment`, and that event.

import { expect } from 'vitest'
import type { AttemptRef, EventItem, EventTaken, Tried, Waited, WaitItem } from '../../core/engine.ts'
import type { ClaimedJob } from '../../core/engine-rows.ts'
import { type EngineDatabase, type EnqueueOptions, ref, running } from './engine-database.ts'

export interface Waits {
  wait(of: AttemptRef, more?: Partial<WaitItem>, tried?: Tried): Promise<Waited>
  send(job: string, more?: Partial<EventItem>): Promise<EventTaken>
  /** Enqueues and claims a job, and lets it wait. */
  waiting(more?: Partial<WaitItem>, options?: EnqueueOptions): Promise<ClaimedJob>
  /** How many rows there are of waits, of attempts' states and of kept events. */
  rows(): Promise<{ waits: number; states: number; kept: number }>
}

export const useWaits = (database: EngineDatabase): Waits => {
  const wait: Waits['wait'] = (of, more = {}, tried) =>
    database.engine.wait({ ...ref(of), name: 'payment', timeoutSeconds: 3600, onTimeout: 'fail', ...more }, tried)
  return {
    wait,
    send: (job, more = {}) => database.engine.sendEvent({ job, name: 'payment', action: 'event', ...more }),
    async waiting(more, options) {
      const job = await running(database, options)
      expect(await wait(job, more)).toMatchObject({ answer: 'waiting' })
      return job
    },
    async rows() {
      const [row] = await database.sql<{ waits: number; states: number; kept: number }[]>`
        select (select count(*)::int from millrace.wait) as waits,
          (select count(*)::int from millrace.attempt_state) as states,
          (select count(*)::int from millrace.kept_event) as kept`
      return row as { waits: number; states: number; kept: number }
    },
  }
}

/** What is told of progress to the attempt that was claimed. */
export const progressOf = (job: ClaimedJob) => JSON.parse(job.progress ?? 'null')
