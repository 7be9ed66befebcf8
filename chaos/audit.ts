// Compares what was enqueued, what is on record and what the functions saw. Pure: from evidence to findings.

import { auditTold, type ToldFindings } from './audit-told.ts'
import { auditWaits, type WaitFindings } from './audit-waits.ts'
import { type Evidence, isBuiltIn, isEnd, keyOf as key, type Outcome } from './evidence.ts'
import { EXCLUSIVE } from './producer.ts'

/** Each a list of what is wrong, in words. */
export interface Findings extends ToldFindings, WaitFindings {
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
  /** Cancellations that were confirmed and did not hold, and ends as cancelled that nobody asked for. */
  readonly unkeptCancellations: string[]
  /** Exclusive keys that two jobs held at the same time. */
  readonly sharedKeys: string[]
  /** Occurrences of the schedule that were missed, or came twice. */
  readonly misfires: string[]
  /** Jobs of which the engine says something else than what was recorded. */
  readonly contradictions: string[]
  /** Somebody's right signature or token was refused. */
  readonly unauthorized: string[]
}

const NAMES: Readonly<Record<string, string>> = {
  c: 'completed',
  f: 'failed',
  r: 'retryable',
  s: 'available',
  x: 'cancelled',
}

export function audit(evidence: Evidence): Findings {
  const outcomes = Map.groupBy(evidence.outcomes, key)
  const last = new Map(evidence.entered.map(entry => [entry.job, outcomes.get(key(entry))?.[0]]))
  return {
    lost: findLost(evidence, last),
    doubledOutcomes: findDoubled(evidence, outcomes),
    phantoms: findPhantoms(evidence),
    unkeptCallbacks: findUnkept(evidence, outcomes),
    unfounded: findUnfounded(evidence),
    unkeptCancellations: findUnkeptCancellations(evidence),
    sharedKeys: findSharedKeys(evidence),
    misfires: findMisfires(evidence),
    contradictions: findContradictions(evidence, last),
    unauthorized: findUnauthorized(evidence),
    ...auditTold(evidence),
    ...auditWaits(evidence),
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
  const { journal, outcomes, retried, attempts } = evidence
  const lives = counts([...retried, ...redelivered(attempts, outcomes)])
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

/** Deliveries that had failed, and have gone on: an operator has sent them again. */
function redelivered(attempts: Evidence['attempts'], outcomes: readonly Outcome[]): string[] {
  const known = new Map(attempts.map(one => [key(one), one]))
  return outcomes.flatMap(({ job, attempt, state }) => {
    const next = known.get(key({ job, attempt: attempt + 1 }))
    return state === 'f' && next?.delivery ? [job] : []
  })
}

const counts = (names: readonly string[]): Map<string, number> =>
  new Map([...Map.groupBy(names, name => name)].map(([name, all]) => [name, all.length]))

function findPhantoms({ withdrawn, enqueued, entered, attempts, outcomes, journal }: Evidence): string[] {
  const followers = new Set(attempts.flatMap(({ job, follows }) => (follows === null ? [] : [job])))
  const tokens = new Map(enqueued.map(({ token, job }) => [token, job]))
  const jobs = new Set(enqueued.map(({ job }) => job))
  const known = new Set(entered.map(({ job }) => job))
  const strangers = entered.filter(
    ({ job, kind, occasion }) => !jobs.has(job) && occasion === null && !isBuiltIn(kind) && !followers.has(job),
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

function findUnfounded({ entered, outcomes, journal, sent }: Evidence): string[] {
  const said = new Set(journal.flatMap(entry => (entry.what === 'says' ? [key(entry)] : [])))
  const ours = new Set(entered.flatMap(({ job, kind }) => (isBuiltIn(kind) ? [] : [job])))
  const events = new Set<string | null>(sent.flatMap(({ action, nonce }) => (action === 'complete' ? [nonce] : [])))
  return outcomes
    .filter(outcome => outcome.state === 'c' && ours.has(outcome.job) && !said.has(key(outcome)))
    .filter(({ nonce }) => !events.has(nonce))
    .map(outcome => `attempt ${key(outcome)} is completed, and no function has said so`)
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

function findUnauthorized({ journal, sent }: Evidence): string[] {
  return [
    ...journal.filter(({ what }) => what === 'unauthorized').map(entry => JSON.stringify(entry)),
    ...sent.filter(({ answer }) => answer === 'invalid_signature').map(one => JSON.stringify(one)),
  ]
}
