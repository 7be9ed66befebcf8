// Does the leader's chores without being it, which anybody may do at any time; leaders are killed too often here to do them all.

import { pause } from './monkey.ts'
import type { Random } from './random.ts'
import { withSession } from './session.ts'

/** Each in a transaction of its own, as the leader has it. */
const CHORES = { rotations: 'millrace.rotate()', prunes: 'millrace.prune()' }

export async function clean(url: string, random: Random, events: Record<string, number>, until: AbortSignal) {
  while (!until.aborted) {
    await withSession(url, async session => {
      while (!until.aborted) {
        await pause(random.int(50, 400), until)
        await session.query('select millrace.survey()')
        for (const [name, verb] of Object.entries(CHORES)) {
          const { rows } = await session.query<{ did: string | null }>(`select ${verb}::text as did`)
          if (rows[0]?.did) events[name] = (events[name] ?? 0) + 1
        }
      }
    }).catch(() => undefined)
    await pause(100, until)
  }
}
