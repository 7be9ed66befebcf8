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
    followUps: {
      enqueued: new Set(evidence.attempts.flatMap(({ job, follows }) => (follows === null ? [] : [job]))).size,
      problems: evidence.problems.length,
    },
    waits: evidence.waited.filter(({ name }) => name !== null).length,
    sentEvents: tally(evidence.sent, ({ answer }) => answer ?? 'unknown'),
    webhooks: tally(
      evidence.journal.flatMap(entry => (entry.what === 'webhook' ? [entry] : [])),
      ({ taken }) => (taken ? 'taken' : 'refused'),
    ),
    deadDeliveries: tally(
      evidence.outcomes.filter(({ state, code }) => state === 'f' && code !== null && /endpoint|http_410/.test(code)),
      ({ code }) => code as string,
    ),
    ...Object.fromEntries(Object.entries(findings).map(([name, list]) => [name, list.length])),
    events,
    functions: tally(calls, does => does),
  }
}

const tally = <T>(all: readonly T[], nameOf: (one: T) => string): Record<string, number> =>
  Object.fromEntries([...Map.groupBy(all, nameOf)].map(([name, some]) => [name, some.length]))

export const isClean = (findings: Findings): boolean => Object.values(findings).every(list => list.length === 0)

/** What is wrong, of each sort the first few. */
export const complaints = (findings: Findings): string[] =>
  Object.entries(findings as unknown as Record<string, string[]>).flatMap(([name, list]) =>
    list.slice(0, ENOUGH).map(text => `${name}: ${text}`),
  )
