// The test of a part of the pairs: files run side by side, and each has a database of its own.

import { expect, it } from 'vitest'
import { games } from './matrix.ts'
import { playAll, useArena } from './race.ts'
import { PAIRS } from './verbs.ts'

/** Every `of`-th pair, from number `from` on. */
export function testPairs(from: number, of: number): void {
  const arena = useArena(2)
  const mine = Map.groupBy(
    PAIRS.filter((_, n) => n % of === from),
    ([a]) => a.name,
  )
  it.each([...mine])('%s', { timeout: 120_000 }, async (_, pairs) => {
    const problems = await playAll(
      arena,
      pairs.flatMap(([a, b]) => [...games(a, b)]),
    )
    expect(problems.length, `${problems.length} wrong:\n${problems.slice(0, 3).join('\n')}`).toBe(0)
  })
}
