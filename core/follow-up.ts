// Follow-ups as an application declares them: which job is enqueued, by the database, when something happens to another.

import { MillraceError } from './errors.ts'
import type { Json } from './json.ts'

/** What can happen to a job: see docs/follow-ups.md. */
export type JobEvent = 'completed' | 'retried' | 'failed' | 'cancelled' | 'rescued' | 'waiting'

export const JOB_EVENTS: readonly JobEvent[] = ['completed', 'retried', 'failed', 'cancelled', 'rescued', 'waiting']

/** Stands in a template for what is found in the event; made by {@link from}. */
export interface Reference {
  readonly [key: string]: Json
  /** JSONPath, of which the first match counts. */
  readonly $path: string
}

/** The job that follows. `args`, `tags` and `metadata` are templates: JSON in which {@link from} may stand anywhere. */
export interface FollowUpJob {
  /** A kind or its name; what it declares holds for the job. */
  readonly enqueue: { readonly name: string } | string
  /** All that is told of the event, unless given. */
  readonly args?: Json
  /** The kind's, unless given. */
  readonly queue?: string
  /** 1 to 4; the kind's, unless given. */
  readonly priority?: number
  /** How long after the event: 0, at most ten years. */
  readonly delaySeconds?: number
  /** 1 to 1000; the kind's, unless given. */
  readonly maxAttempts?: number
  readonly tags?: readonly (string | Reference)[] | Reference
  /** Beside `follows: { job_id, attempt, event, follow_up }` and the tenant of the job that it follows. */
  readonly metadata?: { readonly [key: string]: Json }
}

/** A follow-up of a kind's jobs. */
export interface FollowUp extends FollowUpJob {
  readonly on: readonly JobEvent[]
}

/** What an event's data may have at its top. */
const FIELDS: readonly string[] = [
  ...['job_id', 'kind', 'queue', 'attempt', 'state', 'enqueued_at', 'finished_at', 'run_at', 'tags', 'error'],
  ...['args', 'metadata', 'result', 'wait', 'reason'],
]

/**
 * Refers to a part of the event that a follow-up follows, by its place or by any JSONPath. Without a default, an event that
 * has nothing there is not followed, which is put on record.
 *
 * @throws {MillraceError} `invalid_declaration`
 * @example
 * { on: ['completed'], enqueue: mail, args: { file: from('result.file'), to: from('args.customer.email'), cc: from('args.cc', { default: [] }) } }
 * @example
 * from('$.result.pages[*] ? (@.state == "bad")')
 */
export function from(path: string, options: { readonly default?: Json } = {}): Reference {
  const isPath = /^\s*(\$|(lax|strict)\s)/.test(path)
  const $path = isPath ? path : fromPlace(path)
  const problem = (isPath ? undefined : placeProblem(path)) ?? pathProblem($path)
  if (problem !== undefined) throw new MillraceError('invalid_declaration', `from('${path}'): ${problem}`)
  return { $path, ...(options.default !== undefined && { default: options.default }) }
}

/** What is wrong with the references of a template; undefined: nothing. */
export function templateProblem(template: unknown): string | undefined {
  if (typeof template !== 'object' || template === null) return undefined
  if (!('$path' in template)) return Object.values(template).map(templateProblem).find(Boolean)
  const { $path, default: _, ...more } = template as Record<string, unknown>
  const extra = Object.keys(more)[0]
  if (extra !== undefined) return `beside a $path there is only a default, not "${extra}"`
  return typeof $path === 'string' ? pathProblem($path) : '$path is text'
}

const STEP = /^([^[\]]+)((?:\[\d+\])*)$/

function placeProblem(place: string): string | undefined {
  const step = place.split('.').find(step => step !== '' && !STEP.test(step))
  return step && `${step} is no name with indexes: for what else there is write a JSONPath, such as $.args."x y"`
}

/** `result.files[0].full-name` as JSONPath; names that need quotes get them. */
function fromPlace(place: string): string {
  const steps = place.split('.').map(step => STEP.exec(step))
  return `$${steps.map(step => (step ? `.${nameOf(step[1] as string)}${step[2]}` : '.')).join('')}`
}

const nameOf = (name: string): string => (/^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name))

/** Finds what is usually mistyped; the database, which reads the path as a whole, has the last word when it is synced. */
function pathProblem(path: string): string | undefined {
  const bare = path.replaceAll(/"(?:[^"\\]|\\.)*"/g, 's')
  if (!/^\s*(?:(?:lax|strict)\s+)?\$/.test(bare)) return 'a path starts with $'
  if (bare.includes('"')) return 'a quote is not closed'
  if (!isBalanced(bare)) return 'a bracket is not closed'
  if (/\.\s*(?:[.[]|$)/.test(bare)) return 'a name is missing after a dot'
  const [, field] = /^[^$]*\$\.([A-Za-z_]\w*)(?!\w*\s*\()/.exec(path) ?? []
  if (field !== undefined && !FIELDS.includes(field)) return `an event has no ${field}: it has ${FIELDS.join(', ')}`
  return undefined
}

function isBalanced(text: string): boolean {
  const inner = text.replaceAll(/\([^()[\]]*\)|\[[^()[\]]*\]/g, '')
  return inner === text ? !/[()[\]]/.test(text) : isBalanced(inner)
}
