// Looks over the lanes: which segments have nothing left to claim, and since when low priorities have been waiting.

import type { ChoreStep } from './chore.ts'

export const survey: ChoreStep = {
  name: 'survey',
  leastMs: 10_000,
  mostMs: 200_000,
  async runOnce(engine, epoch) {
    return { did: await engine.survey(epoch) }
  },
}
