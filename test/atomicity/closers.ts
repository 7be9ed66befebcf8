// Whoever can end an attempt or make a job wait: what has to be there before, what it does, and which events that is.

import { callbackIdOf } from 'millrace/protocol'
import type pg from 'pg'
import { admin } from '../../core/admin.ts'
import { callbacks } from '../../core/callbacks.ts'
import { toSql } from '../../core/drivers.ts'
import type { AttemptRef, Outcome } from '../../core/engine.ts'
import { SqlEngine } from '../../core/sql-engine.ts'
import { completed, type EngineDatabase, enqueue, failed, fatal, ref, running } from '../support/engine-database.ts'
import { boundHeaders, keyring } from '../support/ingress.ts'

/** The kind that is listened to. */
export const KIND = 'work'

export type Event = 'completed' | 'retried' | 'failed' | 'cancelled' | 'rescued' | 'waiting'

/** What a closer works on: an attempt, and whatever else it needs to know. */
export interface Subject {
  readonly id: string
  readonly attempt: number
  readonly detail?: string
}

export interface Closer {
  readonly name: string
  readonly events: readonly Event[]
  prepare(database: EngineDatabase): Promise<Subject>
  act(session: pg.Client, subject: Subject): Promise<unknown>
}

const engineOf = (session: pg.Client) => new SqlEngine(toSql(session))

const claimed = (database: EngineDatabase, options: object = {}) => running(database, options, KIND)

const subjectOf = (of: AttemptRef): Subject => ({ ...ref(of), detail: of.segment })

const refOf = ({ id, attempt, detail }: Subject): AttemptRef => ({ segment: String(detail), id, attempt })

const closing = (name: string, events: readonly Event[], outcome: Outcome, options: object = {}): Closer => ({
  name,
  events,
  prepare: async database => subjectOf(await claimed(database, options)),
  act: (session, subject) => engineOf(session).close([{ ...refOf(subject), outcome }]),
})

/** A signed call to the real ingress. */
const calling = (
  name: string,
  events: readonly Event[],
  action: 'complete' | 'fail' | 'wait',
  body: object,
  prepare: (database: EngineDatabase, of: AttemptRef) => Promise<unknown> = async () => undefined,
): Closer => ({
  name,
  events,
  async prepare(database) {
    const of = await claimed(database)
    await prepare(database, of)
    return subjectOf(of)
  },
  async act(session, subject) {
    const id = callbackIdOf(keyring, refOf(subject))
    const app = callbacks({ store: engineOf(session), keyring })
    const headers = boundHeaders(id, action, { body })
    const response = await app.request(`http://ingress/api/callbacks/${id}/${action}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
    })
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
  },
})

const rescuing = (
  name: string,
  events: readonly Event[],
  prepare: (database: EngineDatabase) => Promise<AttemptRef>,
): Closer => ({
  name,
  events,
  prepare: async database => subjectOf(await prepare(database)),
  act: session => engineOf(session).rescue(10),
})

const cancelling = (
  name: string,
  prepare: (database: EngineDatabase) => Promise<Subject>,
  statement = 'select * from millrace.cancel(array[$1::bigint])',
): Closer => ({
  name,
  events: ['cancelled'],
  prepare,
  act: (session, { id }) => session.query(statement, [id]),
})

const parked = async (database: EngineDatabase, options: object = {}) => {
  const of = await claimed(database, options)
  await database.engine.park([ref(of)], -1)
  // Parking is an event as well, and has been told.
  await forget(database)
  return of
}

const waits = async (database: EngineDatabase, of: AttemptRef): Promise<void> => {
  await database.sql`
    select millrace.wait(${of.segment}::text::bigint, ${of.id}::text::bigint, ${of.attempt}, 'payment', 3600)`
  await forget(database)
}

const forget = (database: EngineDatabase) =>
  database.sql`delete from millrace.job_log where kind in ('after', 'millrace.webhook')`

const available = async ({ sql }: EngineDatabase, options: object = {}): Promise<Subject> => {
  const [id] = await enqueue(sql, 1, options, KIND)
  return { id: id as string, attempt: 1 }
}

const telling = (name: string, action: 'complete' | 'fail', event: Event): Closer => ({
  name,
  events: [event],
  async prepare(database) {
    const of = await claimed(database)
    await waits(database, of)
    return subjectOf(of)
  },
  act: (session, { id }) =>
    session.query(`select * from millrace.send_event($1::bigint, 'payment', '{"sum": 5}', $2)`, [id, action]),
})

export const closers: readonly Closer[] = [
  closing('the dispatcher, of a job that is done', ['completed'], completed),
  closing('the dispatcher, of a job that goes on', ['retried'], failed()),
  closing('the dispatcher, of a job that has failed', ['failed'], fatal),
  closing('the dispatcher, of a last attempt', ['failed'], failed(), { max_attempts: 1 }),
  calling('the ingress, complete', ['completed'], 'complete', { payload: { pages: 3 } }),
  calling('the ingress, fail', ['failed'], 'fail', { error: 'no such order' }),
  calling('the ingress, fail and again', ['retried'], 'fail', { error: 'busy', retryable: true }),
  calling('the ingress, wait', ['waiting'], 'wait', { name: 'payment' }),
  calling(
    'the ingress, wait for what has come already',
    ['completed'],
    'wait',
    { name: 'payment' },
    async ({ sql }, { id }) =>
      sql`select millrace.send_event(${id}::text::bigint, 'payment', '{"sum": 5}', 'complete')`,
  ),
  rescuing('rescue, of a silent function', ['retried', 'rescued'], parked),
  rescuing('rescue, of a last attempt', ['failed', 'rescued'], database => parked(database, { max_attempts: 1 })),
  rescuing('rescue, of a dead dispatcher', ['retried', 'rescued'], async database => {
    const of = await claimed(database)
    await database.sql`update millrace.runtime set lost_at = now() - interval '1 second'`
    return of
  }),
  rescuing('rescue, of an event that never came', ['failed'], async database => {
    const of = await claimed(database)
    await waits(database, of)
    for (const table of ['wait', 'attempt_state'])
      await database.sql`update ${database.sql(`millrace.${table}`)} set deadline = now() - interval '1 second'`
    return of
  }),
  cancelling('cancel, of an available job', available),
  cancelling('cancel, of a deferred job', database => available(database, { delay_seconds: 600 })),
  cancelling('cancel, of a running job', async database => subjectOf(await claimed(database))),
  cancelling('cancel, of a job that waits for an event', async database => {
    const of = await claimed(database)
    await waits(database, of)
    return subjectOf(of)
  }),
  cancelling(
    'cancel, by key',
    database => available(database, { unique_key: 'order:1' }),
    "select * from millrace.cancel_by_key('order:1'), (values ($1::bigint)) v",
  ),
  {
    name: "an operator's batch",
    events: ['cancelled'],
    async prepare(database) {
      const subject = await available(database)
      const { id } = await admin(database.sql).batches.submit('cancel', { kind: KIND })
      return { ...subject, detail: String(id) }
    },
    act: (session, { detail }) => admin(session).batches.step(detail as string),
  },
  {
    name: 'close, of a job whose key is taken by a newer one',
    events: ['cancelled'],
    async prepare(database) {
      const unique = { unique_key: 'order:1', unique_states: ['available', 'retryable', 'scheduled'] }
      const of = await claimed(database, unique)
      await enqueue(database.sql, 1, unique, 'other')
      return subjectOf(of)
    },
    act: (session, subject) => engineOf(session).close([{ ...refOf(subject), outcome: failed() }]),
  },
  {
    name: 'park',
    events: ['waiting'],
    prepare: async database => subjectOf(await claimed(database)),
    act: (session, subject) => engineOf(session).park([refOf(subject)], 60),
  },
  telling('an event that completes', 'complete', 'completed'),
  telling('an event that fails', 'fail', 'failed'),
]
