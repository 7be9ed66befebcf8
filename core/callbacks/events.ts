// Events by token: who has one may send that one event to that one job, and learns nothing else.

import type { EventStore } from '../engine.ts'
import type { Json } from '../json.ts'
import { decode, jsonOf, type Refusal } from '../json-body.ts'
import { readEventToken } from '../protocol/event-token.ts'
import type { Keyring } from '../protocol/keyring.ts'
import { verdictOf } from '../waits/rules.ts'
import { type EventAnswer, takeEvent } from '../waits/take-event.ts'
import type { EventAction } from '../wire.ts'
import { Problem } from './problem.ts'

/** The actions that stand at the end of a path; without any it is `event`. */
export const EVENT_ACTIONS = ['resume', 'complete', 'fail', 'retry'] as const satisfies readonly EventAction[]

/** The body of a 200. */
export interface EventBody {
  readonly state: EventAnswer['state']
  /** The job's from now on, where the event was applied. */
  readonly job_state?: string
}

/** What can be said before the body is read. */
export interface EventClaim {
  readonly job: string
  readonly name: string
}

/** @throws {Problem} 401, one and the same for every token that is none, or none for this action */
export function eventClaim(keyring: Keyring | undefined, token: string, action: EventAction): EventClaim {
  const read = keyring && readEventToken(keyring, token, action)
  if (read === undefined) throw new Problem(401, 'invalid_signature', 'Not an event token')
  return { job: read.jobId, name: read.name }
}

/** @throws {MillraceError} as {@link takeEvent} does */
export async function recordEvent(
  store: EventStore,
  { job, name }: EventClaim,
  action: EventAction,
  payload: Json | undefined,
): Promise<EventBody> {
  const answer = await takeEvent(store, { job, name, action, payload }, verdictOf)
  return { state: answer.state, ...(answer.state === 'applied' && { job_state: answer.jobState }) }
}

/**
 * Any JSON, or a form; nothing for no body. A form's fields are texts, lists of them where a name comes more than once.
 *
 * @throws {Problem} 400 for what is neither, 422 for what jsonb refuses
 */
export function eventPayload(bytes: Uint8Array, contentType: string | undefined): Json | undefined {
  const invalid = (message: string, malformed = false) => new Problem(malformed ? 400 : 422, 'invalid_request', message)
  if (bytes.length === 0) return undefined
  const type = contentType?.split(';')[0]?.trim().toLowerCase() ?? ''
  if (type.startsWith('multipart/'))
    throw invalid('The body must be JSON or a form as application/x-www-form-urlencoded')
  return (type === 'application/x-www-form-urlencoded' ? formOf(bytes, invalid) : jsonOf(bytes, invalid)) as Json
}

function formOf(bytes: Uint8Array, invalid: Refusal): Json {
  const text = decode(bytes, invalid)
  checkEscapes(text, invalid)
  const fields = new Map<string, string | string[]>()
  for (const [name, value] of new URLSearchParams(text)) {
    if (name.includes('\0') || value.includes('\0')) throw invalid('A field contains a NUL character', false)
    const known = fields.get(name)
    if (Array.isArray(known)) known.push(value)
    else fields.set(name, known === undefined ? value : [known, value])
  }
  return Object.fromEntries(fields)
}

/** `URLSearchParams` would put U+FFFD where escaped bytes are not UTF-8. */
function checkEscapes(text: string, invalid: Refusal): void {
  try {
    for (const [escapes] of text.matchAll(/(?:%[0-9a-f]{2})+/gi)) decodeURIComponent(escapes)
  } catch {
    throw invalid('The body is not UTF-8', true)
  }
}
