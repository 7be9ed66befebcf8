// Races for the last place in a queue with a limit: never more open attempts than it allows.

import { expect, it } from 'vitest'
import { games } from './matrix.ts'
import { playAll, useArena } from './race.ts'
import { verb } from './verbs.ts'

// Seven attempts of the world are open there, and three jobs wait.
const arena = useArena(2, async sql => {
  await sql`insert into millrace.queue (name, max_running) values ('default', 8)`
})

it.each(['claim', 'close', 'callback', 'cancel', 'rescue', 'prune', 'rotate', 'attach'])(
  'claim, %s',
  { timeout: 120_000 },
  async name => {
    const problems = await playAll(arena, games(verb('claim'), verb(name)))
    expect(problems.length, `${problems.length} wrong:\n${problems.slice(0, 3).join('\n')}`).toBe(0)
  },
)
