// Compares what was enqueued, what is on record and what the functions saw. Pure: from evidence to findings.

import { SUBSCRIBED } from './cast.ts'
import type { Entry } from './journal.ts'

export interface Evidence {
  /** Tokens of jobs whose commit was confirmed, or that were rolled back. */
  readonly confirmed: ReadonlySet<number>
  readonly withdrawn: ReadonlySet<number>
  /** What was committed. */
  readonly enqueued: readonly { readonly token: number; readonly job: string; readonly kind: string }[]
  /** Every job there has been, with its last attempt. */
  readonly entered: readonly { readonly job: string; readonly attempt: number; readonly kind: string }[]
  /** Every end that was recorded, in their order. */
  readonly outcomes: readonly Outcome[]
  readonly journal: readonly Entry[]
  /** What the engine says of the jobs it still knows. */
  readonly states: ReadonlyMap<string, string>
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

function findDoubled({ journal, outcomes }: Evidence, byAttempt: ReadonlyMap<string, readonly Outcome[]>): string[] {
  const attempts = [...byAttempt].filter(([, ends]) => ends.length > 1)
  const jobs = [
    ...Map.groupBy(
      outcomes.filter(({ state }) => isEnd(state)),
      ({ job }) => job,
    ),
  ].filter(([, ends]) => ends.length > 1)
  const fresh = journal.filter(entry => entry.what === 'heard' && entry.action === 'complete' && entry.fresh)
  const firsts = [...Map.groupBy(fresh as readonly { job: string; attempt: number }[], key)].filter(
    ([, all]) => all.length > 1,
  )
  return [
    ...attempts.map(([attempt, ends]) => `attempt ${attempt} has ${ends.length} outcomes`),
    ...jobs.map(([job, ends]) => `job ${job} ended ${ends.length} times`),
    ...firsts.map(([attempt, all]) => `attempt ${attempt} was completed ${all.length} times`),
  ]
}

function findPhantoms({ withdrawn, enqueued, entered, outcomes, journal }: Evidence): string[] {
  const tokens = new Map(enqueued.map(({ token, job }) => [token, job]))
  const jobs = new Set(enqueued.map(({ job }) => job))
  const known = new Set(entered.map(({ job }) => job))
  const strangers = entered.filter(({ job, kind }) => !jobs.has(job) && !kind.startsWith('millrace.'))
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

function findMissingWebhooks(
  { enqueued, journal }: Evidence,
  last: ReadonlyMap<string, Outcome | undefined>,
): string[] {
  const arrived = new Set(journal.flatMap(entry => (entry.what === 'webhook' ? [`${entry.job} ${entry.type}`] : [])))
  const due = enqueued.filter(
    ({ job, kind }) => (SUBSCRIBED as readonly string[]).includes(kind) && isEnd(last.get(job)?.state),
  )
  return due
    .map(({ job }) => `${job} job.${NAMES[last.get(job)?.state as string]}`)
    .filter(webhook => !arrived.has(webhook))
    .map(webhook => `no webhook for ${webhook}`)
}

function findContradictions({ states, enqueued }: Evidence, last: ReadonlyMap<string, Outcome | undefined>): string[] {
  return enqueued.flatMap(({ job }) => {
    const [said, recorded] = [states.get(job), NAMES[last.get(job)?.state ?? '']]
    return said === undefined || said === recorded
      ? []
      : [`job ${job} is called ${said}, and was recorded as ${recorded}`]
  })
}
