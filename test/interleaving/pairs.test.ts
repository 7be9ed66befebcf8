// Every pair of verbs, in every order of their begin, statement and commit.

import { expect, it } from 'vitest'
import { type Part, playAll, useArena } from './race.ts'
import { VERBS, type Verb } from './verbs.ts'

const arena = useArena(2)
const part = (verb: Verb, end: Part['end'] = 'commit', isolation: Part['isolation'] = 'read committed'): Part => ({
  verb,
  end,
  isolation,
})

it.each(VERBS.map((verb, n) => [verb.name, verb, VERBS.slice(n)] as const))('%s', async (_, a, others) => {
  const problems = await playAll(
    arena,
    others.map(b => [part(a), part(b)]),
  )
  expect(problems.length, `${problems.length} wrong:\n${problems.slice(0, 4).join('\n')}`).toBe(0)
}, 120_000)
