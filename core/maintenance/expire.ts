// Deletes dead letters and archived jobs whose retention is over.

import type { ChoreStep } from './chore.ts'

const AT_ONCE = 1_000

export const expire: ChoreStep = {
  name: 'expire',
  leastMs: 10_000,
  mostMs: 600_000,
  async runOnce(engine, epoch, onEvent) {
    const jobs = await engine.expire(epoch, AT_ONCE)
    if (jobs > 0) onEvent({ type: 'expired', jobs })
    return { did: jobs, more: jobs >= AT_ONCE }
  },
}
