// What happened to attempts, as events tell of it: from the books, independently of the engine's own announcing.

import { type Attempt, type Evidence, isBuiltIn, keyOf } from './evidence.ts'

/** An event that is due so many times: at least `min`, where two transactions may have crossed, and at most `max`. */
export interface Transition {
  readonly of: Attempt
  readonly event: string
  readonly min: number
  readonly max: number
}

const EVENTS: Readonly<Record<string, string>> = { c: 'completed', f: 'failed', r: 'retried', x: 'cancelled' }
const RESCUED: readonly (string | null)[] = ['callback_timeout', 'dispatcher_lost', 'deadline_exceeded']

export function transitionsOf({ attempts, outcomes, waited }: Evidence): Transition[] {
  const known = new Map(attempts.filter(({ kind }) => !isBuiltIn(kind)).map(one => [keyOf(one), one]))
  const ends = outcomes.flatMap(outcome => {
    const of = known.get(keyOf(outcome))
    const event = EVENTS[outcome.state]
    if (of === undefined || event === undefined) return []
    const once = { of, min: 1, max: 1 }
    return [{ ...once, event }, ...(RESCUED.includes(outcome.code) ? [{ ...once, event: 'rescued' }] : [])]
  })
  const waits = [...Map.groupBy(waited, keyOf)].flatMap(([key, all]) => {
    const of = known.get(key)
    return of === undefined
      ? []
      : [{ of, event: 'waiting', min: all.filter(({ sure }) => sure).length, max: all.length }]
  })
  return [...ends, ...waits]
}

/** What is missing and what is too much of what is due. `found`: as often as it is there. */
export function compare(
  due: ReadonlyMap<string, Due>,
  found: readonly string[],
): { missing: string[]; extra: string[] } {
  const counts = new Map([...Map.groupBy(found, name => name)].map(([name, all]) => [name, all.length]))
  const missing = [...due].filter(([name, { min }]) => (counts.get(name) ?? 0) < min)
  const extra = [...counts].filter(([name, count]) => count > (due.get(name)?.max ?? 0))
  return {
    missing: missing.map(([name, { min }]) => `${name}: ${counts.get(name) ?? 0} of ${min}`),
    extra: extra.map(([name, count]) => `${name}: ${count}, and ${due.get(name)?.max ?? 0} were due`),
  }
}

export interface Due {
  readonly min: number
  readonly max: number
}
