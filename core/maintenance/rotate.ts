// Seals the newest segment and opens the next one, by age or size.

import type { ChoreStep } from './chore.ts'

export const rotate: ChoreStep = {
  name: 'rotate',
  leastMs: 10_000,
  mostMs: 600_000,
  async runOnce(engine, epoch, onEvent) {
    const segment = await engine.rotate(epoch)
    if (segment === undefined) return { did: 0 }
    onEvent({ type: 'rotated', segment })
    return { did: 1 }
  },
}
