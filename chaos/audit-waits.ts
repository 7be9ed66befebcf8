// What became of events that were sent, and of jobs that waited for them.

import { type Attempt, type Evidence, isEnd, keyOf } from './evidence.ts'
import { checkpointOf, seenIn, TIMED_OUT } from './progress.ts'

export interface WaitFindings {
  /** Events that were acknowledged, and are neither applied nor kept though their job goes on; or kept though somebody waits. */
  readonly lostEvents: string[]
  /** Events that were applied twice, or though the sender had heard that they were not, or that nobody has sent. */
  readonly doubledEvents: string[]
  /** Waits that were confirmed and not on record, cut short, or after which a job did not get its event or its checkpoint. */
  readonly unkeptWaits: string[]
}

/** An event, or a time-out, that an attempt has ended by. */
interface Applied {
  readonly job: string
  readonly attempt: number
  readonly nonce: string
  /** Resumed by it: the attempt that came next. */
  readonly name?: string
  readonly next?: Attempt
}

export function auditWaits(evidence: Evidence): WaitFindings {
  const applied = appliedIn(evidence)
  return {
    lostEvents: findLostEvents(evidence, applied),
    doubledEvents: findDoubledEvents(evidence, applied),
    unkeptWaits: [
      ...findUnrecorded(evidence),
      ...findCutShort(evidence),
      ...findUnresumed(evidence, applied),
      ...findMisinformed(evidence),
    ],
  }
}

function appliedIn({ attempts, outcomes, sent }: Evidence): Applied[] {
  const waiting = attempts.filter(({ kind }) => kind.startsWith('waits'))
  const resumed = [...Map.groupBy(waiting, ({ job }) => job).values()].flatMap(all =>
    all.flatMap((next, nth) => {
      const before = seenIn(all[nth - 1]?.progress).events
      return Object.entries(seenIn(next.progress).events)
        .filter(([name, nonce]) => before[name] !== nonce)
        .map(([name, nonce]) => ({ job: next.job, attempt: next.attempt - 1, nonce: nonce ?? '', name, next }))
    }),
  )
  const nonces = new Set(sent.map(({ nonce }) => nonce))
  const ended = outcomes.flatMap(({ job, attempt, state, nonce, code, message }) => {
    const by = state === 'c' ? nonce : code === 'event' ? message : null
    return by !== null && (state !== 'c' || nonces.has(by)) ? [{ job, attempt, nonce: by }] : []
  })
  return [...resumed, ...ended]
}

function findLostEvents({ sent, kept, waited, outcomes }: Evidence, applied: readonly Applied[]): string[] {
  const used = new Set(applied.map(({ nonce }) => nonce))
  const still = new Set(kept.flatMap(({ nonce, still }) => (still ? [nonce] : [])))
  const ended = new Set(outcomes.flatMap(({ job, state }) => (isEnd(state) ? [job] : [])))
  const cancelled = new Set(outcomes.flatMap(({ job, state }) => (state === 'x' ? [job] : [])))
  const lost = sent.filter(({ answer, state, action, ok, nonce, job }) => {
    if (answer === 'already_ended' || answer === 'not_found') return !ended.has(job)
    // A newer job had taken its unique key, so it could not go on.
    if (answer === 'applied' && state === 'cancelled') return !cancelled.has(job)
    // A retry leaves no trace of its own.
    if (action === 'retry' || !ok || used.has(nonce)) return false
    return answer === 'applied' || (answer === 'kept' && !still.has(nonce) && !ended.has(job))
  })
  const historyOf = (id: string) => JSON.stringify(outcomes.filter(({ job }) => job === id))
  return [
    ...lost.map(one => `answered, and not so: ${JSON.stringify(one)}, job: ${historyOf(one.job)}`),
    ...waited.filter(({ missed }) => missed).map(one => `waits though its event is there: ${JSON.stringify(one)}`),
    ...kept.filter(({ missed }) => missed).map(one => `is kept though its job waits for it: ${JSON.stringify(one)}`),
  ]
}

const TAKEN: readonly (string | undefined)[] = ['applied', 'kept', undefined]

function findDoubledEvents({ sent }: Evidence, applied: readonly Applied[]): string[] {
  const known = new Map(sent.map(one => [one.nonce, one]))
  return [...Map.groupBy(applied, ({ nonce }) => nonce)].flatMap(([nonce, all]) => {
    if (nonce === TIMED_OUT) return []
    const one = known.get(nonce)
    const [first] = all
    const right = one?.ok && TAKEN.includes(one.answer) && one.job === first?.job
    const where = all.map(keyOf).join(', ')
    return right && all.length === 1 && (first?.name ?? one.name) === one.name
      ? []
      : [`${nonce} was applied at ${where}: ${JSON.stringify(one ?? null)}`]
  })
}

function findUnrecorded({ journal, waited, outcomes }: Evidence): string[] {
  const waits = new Set(waited.map(one => `${keyOf(one)} ${one.name}`))
  const states = new Map(outcomes.map(one => [keyOf(one), one.state]))
  return journal.flatMap(entry => {
    if (entry.what !== 'asked') return []
    const kept =
      entry.state === 'waiting_external' ? waits.has(`${keyOf(entry)} ${entry.name}`) : states.has(keyOf(entry))
    return kept ? [] : [`confirmed, and not on record: ${JSON.stringify(entry)}`]
  })
}

const SILENT: readonly (string | null)[] = ['callback_timeout', 'deadline_exceeded', 'dispatcher_lost']
/** Seconds by which a wait and a rescue may cross. */
const CROSSING = 1

function findCutShort({ waited, outcomes }: Evidence): string[] {
  const since = new Map(waited.flatMap(one => (one.name === null ? [] : [[keyOf(one), one.at]])))
  return outcomes
    .filter(one => SILENT.includes(one.code) && one.at - (since.get(keyOf(one)) ?? one.at) > CROSSING)
    .map(one => `waited, and was given up: ${JSON.stringify(one)}`)
}

/** By an event, once each, with the checkpoint of the wait. */
function findUnresumed({ outcomes }: Evidence, applied: readonly Applied[]): string[] {
  const states = new Map(outcomes.map(one => [keyOf(one), one.state]))
  return applied.flatMap(one => {
    if (one.name === undefined) return []
    const { checkpoint } = seenIn(one.next?.progress)
    const right = states.get(keyOf(one)) === 's' && checkpoint === checkpointOf(one.name, one.attempt)
    return right ? [] : [`${keyOf(one)} was resumed by ${one.nonce} with ${JSON.stringify(one.next?.progress)}`]
  })
}

/** Functions are told what is on record. */
function findMisinformed({ attempts, journal }: Evidence): string[] {
  const known = new Map(attempts.map(one => [keyOf(one), one]))
  return journal.flatMap(entry => {
    if (entry.what !== 'call' || entry.seen === undefined) return []
    const recorded = seenIn(known.get(keyOf(entry))?.progress)
    return same(recorded, entry.seen) ? [] : [`${JSON.stringify(entry)}, on record: ${JSON.stringify(recorded)}`]
  })
}

const same = (a: ReturnType<typeof seenIn>, b: ReturnType<typeof seenIn>): boolean =>
  a.checkpoint === b.checkpoint &&
  JSON.stringify(Object.entries(a.events).sort()) === JSON.stringify(Object.entries(b.events).sort())
