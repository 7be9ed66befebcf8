// Three at once, where two are not enough: all orders of their statements and ends, within transactions that are all open.

import { expect, it } from 'vitest'
import { type Game, type Part, playAll, useArena } from './race.ts'
import { merges } from './schedule.ts'
import { PURGE, type Verb, verb } from './verbs.ts'

const arena = useArena(3)

const part = (named: string | Verb, isolation: Part['isolation'] = 'read committed'): Part => ({
  verb: typeof named === 'string' ? verb(named) : named,
  end: 'commit',
  isolation,
})
const old = (name: string): Part => part(name, 'repeatable read')

const trios: readonly (readonly Part[])[] = [
  [part('cancel'), part('promote'), part('claim')],
  [old('enqueue'), part('prune'), part('claim')],
  [old('enqueue unique'), part('prune'), part('callback')],
  [part('prune'), part('callback'), part('rescue')],
  [part('retry'), part('prune'), part(PURGE)],
  [old('enqueue'), part('rotate'), part('survey')],
  [part('enqueue unique'), part('claim'), part('cancel')],
]

function* games(parts: readonly Part[]): Generator<Game> {
  for (const rest of merges([2, 2, 2])) {
    const alone = rest[0] === rest[1] || rest[4] === rest[5] // then it is the others' race, which pairs play
    if (!alone) yield { parts, order: [0, 1, 2, ...rest] }
  }
}

it.each(trios.map(parts => [parts.map(({ verb }) => verb.name).join(', '), parts] as const))(
  '%s',
  { timeout: 120_000 },
  async (_, parts) => {
    const problems = await playAll(arena, games(parts))
    expect(problems.length, `${problems.length} wrong:\n${problems.slice(0, 3).join('\n')}`).toBe(0)
  },
)
