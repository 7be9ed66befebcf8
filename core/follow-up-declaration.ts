// What the declaration of a follow-up must satisfy, and how it goes into the manifest.

import { checkInteger, checkName, isLength, refuse } from './declaration.ts'
import { type FollowUp, type FollowUpJob, JOB_EVENTS, type JobEvent, templateProblem } from './follow-up.ts'
import { jsonText } from './json-text.ts'
import type { KindOptions } from './kind-options.ts'

/** One row of the manifest. */
export interface FollowUpRow {
  readonly name: string
  /** Null: every kind. */
  readonly kinds: readonly string[] | null
  readonly events: readonly JobEvent[]
  readonly job: object
}

/** @throws {MillraceError} `invalid_declaration` */
export function checkFollowUps(kind: KindOptions & { readonly name: string }): void {
  for (const [n, followUp] of (kind.followUps ?? []).entries()) {
    const where = `Kind "${kind.name}": followUps[${n}]`
    if (!followUp?.on?.length) refuse(where, 'on is empty')
    checkEvents(where, followUp.on)
    checkFollowUpJob(where, followUp)
  }
}

/** @throws {MillraceError} `invalid_declaration` */
export function checkEvents(where: string, events: readonly JobEvent[]): void {
  if (!Array.isArray(events)) refuse(where, 'events are a list')
  const unknown = events.find(event => !JOB_EVENTS.includes(event))
  if (unknown !== undefined) refuse(where, `no such event: ${unknown}`)
}

const LONGEST_DELAY_SECONDS = 315_360_000

/** @throws {MillraceError} `invalid_declaration` */
export function checkFollowUpJob(where: string, job: FollowUpJob): void {
  if (typeof kindOf(job) !== 'string') refuse(where, 'enqueue is a kind or its name')
  checkName('kind', kindOf(job))
  if (job.queue !== undefined && !isLength(job.queue)) refuse(where, 'queue has 1 to 200 characters')
  checkInteger(where, 'priority', job.priority, 1, 4)
  checkInteger(where, 'maxAttempts', job.maxAttempts, 1, 1000)
  const { delaySeconds = 0, args, tags, metadata } = job
  if (!(delaySeconds >= 0 && delaySeconds <= LONGEST_DELAY_SECONDS))
    refuse(where, `delaySeconds is 0 to ${LONGEST_DELAY_SECONDS} (ten years), not ${delaySeconds}`)
  if (tags !== undefined && (typeof tags !== 'object' || tags === null)) refuse(where, 'tags is a list')
  if (metadata !== undefined && (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)))
    refuse(where, 'metadata is an object')
  for (const [field, template] of Object.entries({ args, tags, metadata })) {
    if (template === undefined) continue
    jsonText(template, 'invalid_declaration', `${where}: ${field}`)
    const problem = templateProblem(template)
    if (problem !== undefined) refuse(where, `${field}: ${problem}`)
  }
  if (metadata && 'follows' in metadata) refuse(where, 'metadata.follows is set by each event')
}

/** A kind's follow-ups are named by their order: `render#1`. */
export const followUpsOf = (kind: KindOptions & { readonly name: string }): FollowUpRow[] =>
  (kind.followUps ?? []).map((followUp: FollowUp, n) => ({
    name: `${kind.name}#${n + 1}`,
    kinds: [kind.name],
    events: followUp.on,
    job: followUpJobRow(followUp),
  }))

/** The job in the database's names. */
export const followUpJobRow = (job: FollowUpJob): object => ({
  kind: kindOf(job),
  args: job.args,
  queue: job.queue,
  priority: job.priority,
  delay_seconds: job.delaySeconds,
  max_attempts: job.maxAttempts,
  tags: job.tags,
  metadata: job.metadata,
})

const kindOf = ({ enqueue }: FollowUpJob): string => (typeof enqueue === 'string' ? enqueue : enqueue?.name)
