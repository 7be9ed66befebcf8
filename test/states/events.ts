// The events of the table: what makes each possible, what it does, and what its caller is told.

import type postgres from 'postgres'
import { KEY, type Subject } from './states.ts'

type Sql = postgres.ISql
type Row = Record<string, unknown>

export interface Event {
  /** Makes it possible, before the look at the tables. */
  prepare?(sql: Sql, subject: Subject): Promise<unknown>
  /** Does it; answers what the table has after the comma. */
  run(sql: Sql, subject: Subject): Promise<string>
}

const error = { code: 'reported', message: 'broken' }

async function first(rows: PromiseLike<readonly Row[]>): Promise<Row | undefined> {
  return (await rows)[0]
}

/** Closes an attempt: fresh ones are told nothing that matters. */
async function close(sql: Sql, { last }: Subject, outcome: string, attempt = last.attempt): Promise<string> {
  const answer = await first(sql`
    select state, fresh from millrace.close(array[${last.segment}::text::bigint], array[${last.id}::text::bigint],
      array[${attempt}::text::int], array[${outcome}::text], ${JSON.stringify([{ error, delay_ms: 3_600_000 }])}::text::jsonb)`)
  if (!answer || answer.fresh) return ''
  return answer.state === null ? 'unknown' : 'stale'
}

const closing = (outcome: string, prepare?: Event['prepare']): Event => ({
  ...(prepare && { prepare }),
  run: (sql, subject) => close(sql, subject, outcome),
})
const late = (outcome: string): Event => ({ run: (sql, subject) => close(sql, subject, outcome, 1) })

const enqueueing = (onConflict: string): Event => ({
  run: async sql => {
    const job = { kind: 'resize', unique_key: KEY, on_conflict: onConflict }
    try {
      const answer = await (sql as postgres.TransactionSql).savepoint(inner =>
        first(inner`select existing, replaced from millrace.enqueue_jobs(${JSON.stringify([job])}::text::jsonb)`),
      )
      return answer?.replaced ? 'replaced' : answer?.existing ? 'existing' : 'new'
    } catch (refusal) {
      return (refusal as postgres.PostgresError).constraint_name ?? String(refusal)
    }
  },
})

const silently = async (work: PromiseLike<unknown>): Promise<string> => {
  await work
  return ''
}

async function overdue(sql: Sql, { last }: Subject): Promise<void> {
  const ref = [last.segment, last.id, last.attempt] as const
  await sql`
    select millrace.heartbeat(array[${ref[0]}::text::bigint], array[${ref[1]}::text::bigint], array[${ref[2]}::text::int], array[-60])`
  await sql`update millrace.park_log set deadline = now() - interval '1 minute'`
}

const timingOut = (onTimeout: string): Event => ({
  prepare: async sql => {
    await sql`update millrace.wait set on_timeout = ${onTimeout}`
    await sql`update millrace.attempt_state set deadline = now() - interval '1 second'`
  },
  run: sql => silently(sql`select millrace.rescue(10)`),
})

/** Waits for the event that the others send, too. */
const waiting = (prepare?: Event['prepare']): Event => ({
  ...(prepare && { prepare }),
  run: async (sql, { last }) => {
    const wait = await first(sql`
      select answer from millrace.wait(${last.segment}::text::bigint, ${last.id}::text::bigint, ${last.attempt}::text::int, 'payment', 3600)`)
    return wait?.answer === 'closed' ? 'ended' : String(wait?.answer)
  },
})

const send = async (sql: Sql, { id }: Subject, action: string): Promise<string> => {
  const sent = await first(
    sql`select answer from millrace.send_event(${id}::text::bigint, 'payment', '{}', ${action}::text)`,
  )
  return String(sent?.answer)
}

const sending = (action: string): Event => ({ run: (sql, subject) => send(sql, subject, action) })

async function lead(sql: Sql): Promise<void> {
  await sql`select millrace.lead('maintenance', 'test', 60)`
}

const ids = (sql: Sql, subject: Subject) => sql`array[${subject.id}::text::bigint]`

export const EVENTS: Readonly<Record<string, Event>> = {
  'dispatch and maintenance: claim': {
    prepare: sql => sql`insert into millrace.runtime (name, lost_at) values ('claims', 'infinity')`,
    run: sql => silently(sql`select millrace.claim((select max(id) from millrace.runtime), 10)`),
  },
  'dispatch and maintenance: promote, before its time': { run: sql => silently(sql`select millrace.promote(10)`) },
  'dispatch and maintenance: promote, at its time': {
    prepare: sql => sql`update millrace.deferred set run_at = now()`,
    run: sql => silently(sql`select millrace.promote(10)`),
  },
  'dispatch and maintenance: park: the function accepted it': {
    run: (sql, { last }) =>
      silently(sql`
        select millrace.park(array[${last.segment}::text::bigint], array[${last.id}::text::bigint], array[${last.attempt}::text::int], 60)`),
  },
  'dispatch and maintenance: heartbeat': {
    run: async (sql, { last }) => {
      const beat = await first(sql`
        select state from millrace.heartbeat(array[${last.segment}::text::bigint], array[${last.id}::text::bigint],
          array[${last.attempt}::text::int], array[60])`)
      return beat?.state === 'p' ? 'open' : beat?.state === null ? 'unknown' : 'ended'
    },
  },
  'dispatch and maintenance: rescue, its heartbeat or callback is overdue': {
    prepare: overdue,
    run: sql => silently(sql`select millrace.rescue(10)`),
  },
  'dispatch and maintenance: rescue, its dispatcher is dead': {
    prepare: sql => sql`update millrace.runtime set lost_at = '-infinity'`,
    run: sql => silently(sql`select millrace.rescue(10)`),
  },
  'dispatch and maintenance: rescue, its wait is over, which fails it': timingOut('fail'),
  'dispatch and maintenance: rescue, its wait is over, which retries it': timingOut('retry'),
  'dispatch and maintenance: rescue, its wait is over, which resumes it': timingOut('resume'),
  'dispatch and maintenance: rotate': {
    prepare: sql => sql`select millrace.enqueue('resize', queue => 'other')`,
    run: async sql => ((await first(sql`select millrace.rotate() as number`))?.number ? '' : 'not rotated'),
  },
  'dispatch and maintenance: survey': { run: sql => silently(sql`select millrace.survey()`) },
  'dispatch and maintenance: prune, its segment is due': {
    prepare: sql =>
      sql`update millrace.setting set value = 0 where name in ('retention_seconds', 'failed_retention_seconds')`,
    run: sql => silently(sql`select millrace.prune()`),
  },
  'dispatch and maintenance: expire, its retention is over': {
    prepare: async sql => {
      await lead(sql)
      await sql`update millrace.dead_letter set expires_at = now()`
      await sql`update millrace.archive set expires_at = now()`
    },
    run: sql => silently(sql`select millrace.expire((select epoch from millrace.leader), 10)`),
  },
  'dispatch and maintenance: attach, in another cluster': {
    prepare: sql => sql`update millrace.cluster set identifier = 1`,
    run: async sql => ((await first(sql`select millrace.attach() as moved`))?.moved ? '' : 'the same cluster'),
  },
  'dispatch and maintenance: wait for an event': waiting(),
  'dispatch and maintenance: wait for an event that has come': waiting((sql, subject) => send(sql, subject, 'event')),
  'closing the attempt: completed': closing('completed'),
  'closing the attempt: retry, attempts are left': closing('retry'),
  'closing the attempt: retry, none are left': closing(
    'retry',
    (sql, { id }) => sql`update millrace.job_log set max_attempts = attempt where id = ${id}::text::bigint`,
  ),
  'closing the attempt: fail': closing('fail'),
  'closing the attempt: put_back': closing('put_back'),
  'closing the attempt: put_back, for too long': closing(
    'put_back',
    (sql, { id }) => sql`
      update millrace.job_log set put_back = jsonb_build_object('since', now() - interval '2 days') where id = ${id}::text::bigint`,
  ),
  'closing the attempt: release': closing('release'),
  'closing the attempt: snooze': closing('snooze'),
  'closing the attempt: cancel': closing('cancel'),
  'closing the attempt: completed, of the earlier attempt': late('completed'),
  'closing the attempt: fail, of the earlier attempt': late('fail'),
  'operators and applications: cancel': {
    run: async (sql, subject) => {
      const answer = await first(sql`select cancelled from millrace.cancel(${ids(sql, subject)})`)
      return answer ? (answer.cancelled ? '' : 'no') : 'unknown'
    },
  },
  'operators and applications: event': sending('event'),
  'operators and applications: event that completes': sending('complete'),
  'operators and applications: event that fails': sending('fail'),
  'operators and applications: event that retries': sending('retry'),
  'operators and applications: retry': {
    run: async (sql, subject) => {
      const answer = await first(sql`select retried, problem from millrace.retry(${ids(sql, subject)})`)
      return answer?.retried ? 'retried' : String(answer?.problem)
    },
  },
  'operators and applications: move to another queue': {
    run: async (sql, subject) => {
      const answer = await first(sql`select moved, problem from millrace.move(${ids(sql, subject)}, 'elsewhere')`)
      return answer?.moved ? 'moved' : String(answer?.problem)
    },
  },
  'operators and applications: purge of dead letters': {
    run: sql => silently(sql`select millrace.purge_dead_letters('{"all": true}', null, 10)`),
  },
  'operators and applications: enqueue with its unique key': enqueueing('existing'),
  'operators and applications: the same, or an error': enqueueing('error'),
  'operators and applications: the same, or replace': enqueueing('replace'),
}
