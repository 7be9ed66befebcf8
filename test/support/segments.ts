// Turning segments over: the newest one is sealed and, once nothing is left to be claimed in it, emptied.

import { vi } from 'vitest'
import type { EngineDatabase } from './engine-database.ts'

/** Seals the newest segment and empties it; answers what prune says. */
export async function rotateAndPrune({ sql }: EngineDatabase): Promise<Record<string, number> | null> {
  await sql`update millrace.segment set opened_at = opened_at - interval '5 hours'`
  const [sealed] = await sql`select millrace.rotate()::int - 1 as number`
  await vi.waitFor(
    async () => {
      await sql`select millrace.survey()`
      const [row] = await sql`select drained from millrace.segment where number = ${sealed?.number}`
      if (!row?.drained) throw new Error('not drained')
    },
    { timeout: 15_000 },
  )
  await sql`update millrace.segment set opened_at = opened_at - interval '2 days'`
  const [row] = await sql`select millrace.prune() as pruned`
  return row?.pruned
}
