// Who was told of what happened: follow-ups and webhooks, compared with the transitions that are on record.

import { ENDPOINTS } from './endpoints.ts'
import { type Attempt, type Delivery, type Evidence, isBuiltIn, keyOf } from './evidence.ts'
import { FOLLOW_UPS, type FollowUp } from './follow-ups.ts'
import { compare, type Transition, transitionsOf } from './transitions.ts'

export interface ToldFindings {
  /** Transitions without their follow-up, or without a word about why there is none. */
  readonly missingFollowUps: string[]
  /** Follow-ups of nothing, or more than one of the same. */
  readonly phantomFollowUps: string[]
  /** Events that a webhook endpoint was to hear of, and that were not delivered, or never on their way. */
  readonly missingWebhooks: string[]
  /** Deliveries of nothing, or more than one of the same. */
  readonly phantomWebhooks: string[]
  /** What arrived with a wrong signature, or under another id than before. */
  readonly forgedWebhooks: string[]
  /** Deliveries that failed for good, and are no dead letters. */
  readonly unburiedWebhooks: string[]
}

export function auditTold(evidence: Evidence): ToldFindings {
  const transitions = transitionsOf(evidence)
  const followed = findFollowUps(evidence, transitions)
  const { originals, missing, extra } = findDeliveries(evidence, transitions)
  return {
    missingFollowUps: followed.missing,
    phantomFollowUps: followed.extra,
    missingWebhooks: [...missing, ...findUndelivered(evidence, originals)],
    phantomWebhooks: extra,
    forgedWebhooks: findForged(evidence, originals),
    unburiedWebhooks: findUnburied(evidence),
  }
}

const wants = (one: FollowUp | (typeof ENDPOINTS)[number], { of, event }: Transition): boolean =>
  one.events.includes(event) && (one.kinds === undefined || one.kinds.includes(of.kind))

const nameOf = (what: string, job: string | number, attempt: number, event: string): string =>
  `${what} of ${event} of ${job}/${attempt}`

function findFollowUps({ attempts, problems }: Evidence, transitions: readonly Transition[]) {
  const due = new Map(
    transitions.flatMap(transition => {
      const { of, event, min, max } = transition
      const wanted = FOLLOW_UPS.filter(one => wants(one, transition) && (one.kinds || of.follows === null))
      return wanted.map(({ name, broken }) => [
        nameOf(broken ? `problem ${name}` : name, of.job, of.attempt, event),
        { min, max },
      ])
    }),
  )
  const found = firsts(attempts).flatMap(({ follows }) =>
    follows === null ? [] : [nameOf(follows.follow_up, follows.job_id, follows.attempt, follows.event)],
  )
  const failed = problems.map(one => nameOf(`problem ${one.follow_up}`, one.job, one.attempt, one.event))
  return compare(due, [...found, ...failed])
}

/** One of each job. */
const firsts = (attempts: readonly Attempt[]): readonly Attempt[] => [
  ...new Map(attempts.map(one => [one.job, one])).values(),
]

const aboutOf = ({ endpoint, job, attempt, type }: Omit<Delivery, 'message'>): string =>
  nameOf(endpoint, job, attempt, type)

function findDeliveries({ attempts }: Evidence, transitions: readonly Transition[]) {
  const due = new Map(
    transitions.flatMap(transition => {
      const { of, event, min, max } = transition
      return ENDPOINTS.filter(one => wants(one, transition) && (one.tenant ?? of.tenant) === of.tenant).map(
        ({ name }) => [nameOf(name, of.job, of.attempt, `job.${event}`), { min, max }] as const,
      )
    }),
  )
  const originals = new Map(
    firsts(attempts).flatMap(({ job, delivery }) => (delivery && delivery.message === null ? [[job, delivery]] : [])),
  )
  return { originals, ...compare(due, [...originals.values()].map(aboutOf)) }
}

function findUndelivered({ journal }: Evidence, originals: ReadonlyMap<string, Delivery>): string[] {
  const taken = new Set(
    journal.flatMap(entry => (entry.what === 'webhook' && entry.taken ? [`${entry.endpoint} ${entry.id}`] : [])),
  )
  return [...originals]
    .filter(([job, { endpoint }]) => !taken.has(`${endpoint} msg_${job}`))
    .map(([job, delivery]) => `${aboutOf(delivery)}: msg_${job} was not taken`)
}

function findForged({ journal }: Evidence, originals: ReadonlyMap<string, Delivery>): string[] {
  return journal.flatMap(entry => {
    if (entry.what !== 'webhook') return []
    const original = originals.get(entry.id.replace('msg_', ''))
    const same = original !== undefined && aboutOf(original) === aboutOf(entry)
    return entry.genuine && same ? [] : [JSON.stringify(entry)]
  })
}

function findUnburied({ attempts, outcomes, buried }: Evidence): string[] {
  const deliveries = new Set(attempts.flatMap(one => (isBuiltIn(one.kind) ? [keyOf(one)] : [])))
  return outcomes
    .filter(one => one.state === 'f' && deliveries.has(keyOf(one)) && !buried.has(one.job))
    .map(one => `delivery ${keyOf(one)} failed with ${one.code}, and is no dead letter`)
}
