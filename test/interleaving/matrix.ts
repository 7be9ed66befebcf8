// Which games are played for a pair of verbs.

import type { Game, Part } from './race.ts'
import { orders } from './schedule.ts'
import type { Verb } from './verbs.ts'

const part = (verb: Verb, changes: Partial<Part> = {}): Part => ({
  verb,
  end: 'commit',
  isolation: 'read committed',
  ...changes,
})

/** Every order in which the two begin, do and commit. */
function* committed(a: Verb, b: Verb): Generator<Game> {
  for (const order of orders(2)) if (a !== b || order[0] === 0) yield { parts: [part(a), part(b)], order }
}

/** One is rolled back after the other has met what it did. */
function* rolledBack(a: Verb, b: Verb): Generator<Game> {
  const undone = { end: 'rollback' } as const
  for (const order of [
    [0, 1, 0, 1, 0, 1],
    [0, 1, 0, 1, 1, 0],
  ]) {
    yield { parts: [part(a, undone), part(b)], order }
    if (a !== b) yield { parts: [part(b, undone), part(a)], order }
  }
}

/**
 * A caller whose snapshot is from the beginning of its transaction: where the other one begins makes no difference then, so
 * it does so right before its statement.
 */
function* oldSnapshot(caller: Verb, other: Verb): Generator<Game> {
  const seen = new Set<string>()
  for (const order of orders(2)) {
    const first = order.indexOf(1)
    if (order[first + 1] !== 1 || seen.has(order.join())) continue
    seen.add(order.join())
    yield { parts: [part(caller, { isolation: 'repeatable read' }), part(other)], order }
  }
}

export function* games(a: Verb, b: Verb): Generator<Game> {
  yield* committed(a, b)
  yield* rolledBack(a, b)
  if (a.callers) yield* oldSnapshot(a, b)
  if (b.callers && a !== b) yield* oldSnapshot(b, a)
}
