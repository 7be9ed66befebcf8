// Compares what was enqueued, what is on record and what the functions saw. Pure: from evidence to findings.

import { SUBSCRIBED } from './cast.ts'
import type { Entry } from './journal.ts'
import { EXCLUSIVE } from './producer.ts'

export interface Evidence {
  /** Tokens of jobs whose commit was confirmed, or that were rolled back. */
  readonly confirmed: ReadonlySet<number>
  readonly withdrawn: ReadonlySet<number>
  /** What was committed. */
  readonly enqueued: readonly { readonly token: number; readonly job: string; readonly kind: string }[]
  /** Every job there has been, with its last attempt. */
  readonly entered: readonly Entered[]
  /** Every end that was recorded, in their order. */
  readonly outcomes: readonly Outcome[]
  readonly journal: readonly Entry[]
  /** Jobs that the operator has cancelled, and has given another life, once for each time. */
  readonly cancelled: readonly string[]
  readonly retried: readonly string[]
  /** Attempts with a unique key, in the order in which they began. */
  readonly holds: readonly Hold[]
  /** How many segments were opened since the first, and how many were emptied. */
  readonly segments: { readonly opened: number; readonly pruned: number }
  /** What the engine says of the jobs it still knows. */
  readonly states: ReadonlyMap<string, string>
}

interface Entered {
  readonly job: string
  readonly attempt: number
  readonly kind: string
  /** For which second it was scheduled, if it was. */
  readonly occasion: string | null
  /** Its unique key, if it has any. */
  readonly key: string | null
}

interface Hold {
  readonly key: string
  readonly job: string
  readonly since: string
  readonly until: string
}

interface Outcome {
  readonly job: string
  readonly attempt: number
  readonly state: string
  readonly nonce: string | null
}

/** Each a list of what is wrong, in words. */
export interface Findings {
  /** Committed, and without an end or gone. */
  readonly lost: string[]
  /** Ended twice: an attempt with two outcomes, a job with two ends, two callbacks that were both the first. */
  readonly doubledOutcomes: string[]
  /** Of transactions that were rolled back, or of nowhere. */
  readonly phantoms: string[]
  /** Callbacks that were confirmed, and are not on record as they were. */
  readonly unkeptCallbacks: string[]
  /** On record as completed, though no function has said so. */
  readonly unfounded: string[]
  readonly missingWebhooks: string[]
  /** Cancellations that were confirmed and did not hold, and ends as cancelled that nobody asked for. */
  readonly unkeptCancellations: string[]
  /** Exclusive keys that two jobs held at the same time. */
  readonly sharedKeys: string[]
  /** Occurrences of the schedule that were missed, or came twice. */
  readonly misfires: string[]
  /** Jobs of which the engine says something else than what was recorded. */
  readonly contradictions: string[]
}

const NAMES: Readonly<Record<string, string>> = {
  c: 'completed',
  f: 'failed',
  r: 'retryable',
  s: 'available',
  x: 'cancelled',
}
const isEnd = (state: string | undefined): boolean => state === 'c' || state === 'f' || state === 'x'
const key = ({ job, attempt }: { readonly job: string; readonly attempt: number }): string => `${job}/${attempt}`

export function audit(evidence: Evidence): Findings {
  const outcomes = Map.groupBy(evidence.outcomes, key)
  const last = new Map(evidence.entered.map(entry => [entry.job, outcomes.get(key(entry))?.[0]]))
  return {
    lost: findLost(evidence, last),
    doubledOutcomes: findDoubled(evidence, outcomes),
    phantoms: findPhantoms(evidence),
    unkeptCallbacks: findUnkept(evidence, outcomes),
    unfounded: findUnfounded(evidence),
    missingWebhooks: findMissingWebhooks(evidence, last),
    unkeptCancellations: findUnkeptCancellations(evidence),
    sharedKeys: findSharedKeys(evidence),
    misfires: findMisfires(evidence),
    contradictions: findContradictions(evidence, last),
  }
}

function findLost(
  { confirmed, enqueued, entered }: Evidence,
  last: ReadonlyMap<string, Outcome | undefined>,
): string[] {
  const committed = new Set(enqueued.map(({ token }) => token))
  const vanished = [...confirmed].filter(token => !committed.has(token)).map(token => `token ${token}: commit undone`)
  const unknown = enqueued.filter(({ job }) => !last.has(job)).map(({ job }) => `job ${job}: never there`)
  const open = entered.filter(({ job }) => !isEnd(last.get(job)?.state))
  return [
    ...vanished,
    ...unknown,
    ...open.map(({ job, attempt, kind }) => `job ${job} (${kind}): attempt ${attempt} is open`),
  ]
}

function findDoubled(evidence: Evidence, byAttempt: ReadonlyMap<string, readonly Outcome[]>): string[] {
  const { journal, outcomes, retried } = evidence
  const lives = counts(retried)
  const ends = counts(outcomes.filter(({ state }) => isEnd(state)).map(({ job }) => job))
  const fresh = journal.flatMap(entry =>
    entry.what === 'heard' && entry.action === 'complete' && entry.fresh ? [key(entry)] : [],
  )
  return [
    ...[...byAttempt]
      .filter(([, all]) => all.length > 1)
      .map(([name, all]) => `attempt ${name} ended ${all.length} times`),
    ...[...ends]
      .filter(([job, count]) => count > 1 + (lives.get(job) ?? 0))
      .map(([job, count]) => `job ${job} ended ${count} times`),
    ...[...counts(fresh)]
      .filter(([, count]) => count > 1)
      .map(([name, count]) => `attempt ${name} was completed ${count} times`),
  ]
}

const counts = (names: readonly string[]): Map<string, number> =>
  new Map([...Map.groupBy(names, name => name)].map(([name, all]) => [name, all.length]))

function findPhantoms({ withdrawn, enqueued, entered, outcomes, journal }: Evidence): string[] {
  const tokens = new Map(enqueued.map(({ token, job }) => [token, job]))
  const jobs = new Set(enqueued.map(({ job }) => job))
  const known = new Set(entered.map(({ job }) => job))
  const strangers = entered.filter(
    ({ job, kind, occasion }) => !jobs.has(job) && occasion === null && !kind.startsWith('millrace.'),
  )
  const calls = journal.filter(
    entry => entry.what === 'call' && entry.token !== undefined && tokens.get(entry.token) !== entry.job,
  )
  return [
    ...[...withdrawn].filter(token => tokens.has(token)).map(token => `token ${token} was rolled back, and is there`),
    ...strangers.map(({ job }) => `job ${job} is nobody's`),
    ...outcomes
      .filter(({ job }) => !known.has(job))
      .map(outcome => `attempt ${key(outcome)} ended, and was never there`),
    ...calls.map(call => `a function was called for ${JSON.stringify(call)}`),
  ]
}

function findUnkept({ journal }: Evidence, outcomes: ReadonlyMap<string, readonly Outcome[]>): string[] {
  return journal.flatMap(entry => {
    if (entry.what !== 'heard') return []
    const [recorded] = outcomes.get(key(entry)) ?? []
    const kept = NAMES[recorded?.state ?? ''] === entry.state
    const same = entry.action === 'fail' || !entry.fresh || recorded?.nonce === entry.nonce
    return kept && same ? [] : [`${JSON.stringify(entry)}, on record: ${JSON.stringify(recorded ?? null)}`]
  })
}

function findUnfounded({ entered, outcomes, journal }: Evidence): string[] {
  const said = new Set(journal.flatMap(entry => (entry.what === 'says' ? [key(entry)] : [])))
  const ours = new Set(entered.flatMap(({ job, kind }) => (kind.startsWith('millrace.') ? [] : [job])))
  return outcomes
    .filter(outcome => outcome.state === 'c' && ours.has(outcome.job) && !said.has(key(outcome)))
    .map(outcome => `attempt ${key(outcome)} is completed, and no function has said so`)
}

function findMissingWebhooks({ entered, journal }: Evidence, last: ReadonlyMap<string, Outcome | undefined>): string[] {
  const arrived = new Set(journal.flatMap(entry => (entry.what === 'webhook' ? [`${entry.job} ${entry.type}`] : [])))
  return entered
    .filter(({ job, kind }) => (SUBSCRIBED as readonly string[]).includes(kind) && isEnd(last.get(job)?.state))
    .map(({ job }) => `${job} job.${NAMES[last.get(job)?.state as string]}`)
    .filter(webhook => !arrived.has(webhook))
    .map(webhook => `no webhook for ${webhook}`)
}

function findUnkeptCancellations({ cancelled, entered, outcomes }: Evidence): string[] {
  // To these it happens when a newer job has taken the key.
  const keyed = new Set(entered.flatMap(({ job, key }) => (key === null ? [] : [job])))
  const asked = counts(cancelled)
  const done = counts(outcomes.filter(({ state }) => state === 'x').map(({ job }) => job))
  return [...new Set([...asked.keys(), ...done.keys()])]
    .map(job => ({ job, asked: asked.get(job) ?? 0, done: done.get(job) ?? 0 }))
    .filter(({ job, asked, done }) => asked > done || (asked < done && !keyed.has(job)))
    .map(({ job, asked, done }) => `job ${job} was cancelled ${asked} times, and ended so ${done} times`)
}

function findSharedKeys({ holds }: Evidence): string[] {
  const exclusive = holds.filter(({ key }) => key.startsWith(EXCLUSIVE))
  return [...Map.groupBy(exclusive, ({ key }) => key)].flatMap(([key, all]) =>
    all.flatMap((hold, nth) => {
      const before = all[nth - 1]
      const shared = before !== undefined && before.job !== hold.job && hold.since < before.until
      return shared ? [`"${key}": job ${hold.job} from ${hold.since}, job ${before.job} until ${before.until}`] : []
    }),
  )
}

function findMisfires({ entered }: Evidence): string[] {
  const times = entered
    .flatMap(({ occasion }) => (occasion === null ? [] : [Date.parse(occasion)]))
    .sort((a, b) => a - b)
  return times.flatMap((time, nth) => {
    const before = times[nth - 1]
    const step = before === undefined ? 1 : (time - before) / 1000
    return step === 1 ? [] : [`${new Date(time).toISOString()} came ${step} s after the one before`]
  })
}

function findContradictions({ states, enqueued }: Evidence, last: ReadonlyMap<string, Outcome | undefined>): string[] {
  return enqueued.flatMap(({ job }) => {
    const [said, recorded] = [states.get(job), NAMES[last.get(job)?.state ?? '']]
    return said === undefined || said === recorded
      ? []
      : [`job ${job} is called ${said}, and was recorded as ${recorded}`]
  })
}
