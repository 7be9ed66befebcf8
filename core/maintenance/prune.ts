// Empties segments whose time is over, one at a time.

import type { ChoreStep } from './chore.ts'

/** SQLSTATE: a transaction that uses the segment was not waited for. */
const LOCK_NOT_AVAILABLE = '55P03'

export const prune: ChoreStep = {
  name: 'prune',
  leastMs: 5_000,
  mostMs: 60_000,
  async runOnce(engine, epoch, onEvent) {
    try {
      const pruned = await engine.prune(epoch)
      if (pruned === undefined) return { did: 0 }
      if ('forwarded' in pruned) onEvent({ type: 'forwarded', segment: pruned.segment, jobs: pruned.forwarded })
      else onEvent({ type: 'pruned', ...pruned })
      return { did: 1, more: true }
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === LOCK_NOT_AVAILABLE)) throw error
      onEvent({ type: 'prune_put_off', message: error.message })
      return { did: 0 }
    }
  },
}
