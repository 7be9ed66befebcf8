// Does bulk operations: a chunk of each open batch per run, and again at once until they are done.

import { MillraceError } from '../errors.ts'
import type { ChoreStep } from './chore.ts'

export const batches: ChoreStep = {
  name: 'batches',
  leastMs: 1_000,
  mostMs: 60_000,
  /**
   * A chunk is one transaction that also moves the batch on, so a crash anywhere loses nothing and does nothing twice. A
   * chunk that fails, because a lock was not to be had in time, is tried again in the next run; the other batches go on.
   */
  async runOnce(engine, epoch, onEvent) {
    const open = await engine.openBatches()
    let did = 0
    let more = false
    for (const id of open) {
      try {
        const batch = await engine.batchStep(id, epoch)
        if (batch === undefined) continue
        did++
        more ||= batch.state === 'running'
        if (batch.state === 'completed') {
          onEvent({ type: 'batch', batch: id, changed: batch.changed, refused: batch.refused })
        }
      } catch (error) {
        if (error instanceof MillraceError && error.code === 'not_leader') throw error
        onEvent({ type: 'error', during: `batch ${id}`, error })
      }
    }
    return { did, more }
  },
}
