// The report of a run: counts for machines, and every finding in words for people.

import type { Findings } from './audit.ts'
import type { Outcome } from './run.ts'

export type Report = Readonly<Record<string, unknown>>

const ENOUGH = 20

export function reportOf(seconds: number, seed: number, { events, evidence, findings }: Outcome): Report {
  const ends = new Map(evidence.outcomes.map(({ job, state }) => [job, state]))
  const ended = (state: string) => evidence.enqueued.filter(({ job }) => ends.get(job) === state).length
  const calls = evidence.journal.flatMap(entry => (entry.what === 'call' ? [entry.does] : []))
  return {
    seconds,
    seed,
    jobs: evidence.enqueued.length,
    rolledBack: evidence.withdrawn.size,
    attempts: evidence.outcomes.filter(({ state }) => state !== 's').length,
    completed: ended('c'),
    failed: ended('f'),
    cancelled: ended('x'),
    uniqueAttempts: evidence.holds.length,
    occurrences: evidence.entered.filter(({ occasion }) => occasion !== null).length,
    segments: evidence.segments,
    webhooks: evidence.journal.filter(({ what }) => what === 'webhook').length,
    ...Object.fromEntries(Object.entries(findings).map(([name, list]) => [name, list.length])),
    events,
    functions: Object.fromEntries([...Map.groupBy(calls, does => does)].map(([does, all]) => [does, all.length])),
  }
}

export const isClean = (findings: Findings): boolean => Object.values(findings).every(list => list.length === 0)

/** What is wrong, of each sort the first few. */
export const complaints = (findings: Findings): string[] =>
  Object.entries(findings as unknown as Record<string, string[]>).flatMap(([name, list]) =>
    list.slice(0, ENOUGH).map(text => `${name}: ${text}`),
  )
