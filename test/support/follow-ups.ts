// Follow-ups that are declared, and what came of them.

import { defineManifest, type FollowUp, from, type JobEvent, type Kind, syncManifest } from 'millrace'
import type postgres from 'postgres'
import * as v from 'valibot'

const EVENTS: readonly JobEvent[] = ['completed', 'retried', 'failed', 'cancelled', 'rescued', 'waiting']

/** For every event a job of the kind `after` with the event and what the test asks for. */
export const tell = (args: object = {}): FollowUp[] =>
  EVENTS.map(event => ({ on: [event], enqueue: 'after', args: { event, job: from('job_id'), ...args } as never }))

/** Declares the kind that the tests' helpers enqueue, with what follows it. */
export const follow = (sql: postgres.Sql, followUps: readonly FollowUp[], more: readonly Kind[] = []) =>
  syncManifest(sql, defineManifest({ kinds: [{ name: 'resize', args: v.any(), followUps }, ...more] }))

/** Of all follow-up jobs of a kind, in the order of their ids: what they were given. */
export async function followed(sql: postgres.Sql, kind = 'after') {
  return (await jobsThatFollow(sql, kind)).map(({ payload }) => payload)
}

/** The same, with all that was put down. */
export async function jobsThatFollow(sql: postgres.Sql, kind = 'after') {
  const rows = await sql`
    select j.payload, j.metadata, to_jsonb(j.tags) as tags, j.max_attempts, l.queue, l.priority, j.due
    from (
      select id, kind, payload, metadata, tags, max_attempts, lane, null::timestamptz as due from millrace.job_log where attempt = 1
      union all
      select id, kind, payload, metadata, tags, max_attempts, lane, run_at from millrace.deferred where attempt = 1
    ) j
    cross join lateral (select * from millrace.lane where id = j.lane limit 1) l
    where j.kind = ${kind} order by j.id`
  return [...rows]
}

/** Just the names of the events that were followed. */
export const events = async (sql: postgres.Sql): Promise<string[]> =>
  (await followed(sql)).map(({ event }) => event as string)
