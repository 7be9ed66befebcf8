// Sending an event to a job by its id and the event's name, with the rights of the database.

import { type Database, toSql } from './drivers.ts'
import { checkEventName } from './event-name.ts'
import { checkId } from './job-id.ts'
import type { Json } from './json.ts'
import { jsonText } from './json-text.ts'
import { SqlEngine } from './sql-engine.ts'
import { type EventAnswer, takeEvent } from './waits/take-event.ts'
import type { EventAction } from './wire.ts'

export type { EventAnswer } from './waits/take-event.ts'

export interface SendEventOptions {
  /** Any JSON: what the handler gets; with `complete` the job's result, with `fail` its error. */
  readonly payload?: Json | undefined
  /** `event` unless given: what the rules of the wait say, and without any the job goes on. The others do what they say. */
  readonly action?: EventAction | undefined
  /** The schema that `millrace migrate` was told to use: `millrace`. */
  readonly schema?: string | undefined
}

/**
 * Sends a named event to a job. The attempt that waits for it ends by it, and the job goes on at once; as long as none does, the
 * event is kept for the one that will. Given a transaction (read committed), it counts once that is committed.
 *
 * @throws {MillraceError} `not_found`, `already_ended`, `too_many_events`, `invalid_event`, `payload_too_large`,
 *   `invalid_request` for an id that is none, `schema_missing`, `unsupported_driver`
 * @example
 * await sendEvent(sql, jobId, 'approval', { payload: { by: 'ann' } })
 */
export async function sendEvent(
  db: Database,
  jobId: string | number,
  name: string,
  { payload, action = 'event', schema }: SendEventOptions = {},
): Promise<EventAnswer> {
  const engine = new SqlEngine(toSql(db), { ...(schema !== undefined && { schema }) })
  const item = { job: checkId(jobId), name: checkEventName(name), payload: checkedPayload(payload), action }
  return takeEvent(engine, item, async (rules, given) => {
    // Whoever enqueues does not load CEL, nor does whoever sends events to waits without rules.
    const { verdictOf } = await import('./waits/rules.ts')
    return verdictOf(rules, given)
  })
}

const checkedPayload = (payload: Json | undefined): Json | undefined =>
  payload === undefined ? undefined : (JSON.parse(jsonText(payload, 'invalid_event', 'The payload')) as Json)
