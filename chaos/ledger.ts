// Reads the run's books: what is still open, and in the end all there is to audit.

import type { Evidence } from './evidence.ts'
import type { Production } from './producer.ts'
import { withSession } from './session.ts'

/** Jobs, webhook deliveries included, whose newest attempt has no end that is one. */
export const OPEN = `from (select id, max(attempt) as attempt, min(kind) as kind from chaos.entered group by id) j
  where not exists (select from chaos.outcome o where o.id = j.id and o.attempt = j.attempt and o.state in ('c', 'f', 'x'))`

/** The attempts with a unique key, each from when it was there to when it had ended. */
const HOLDS = `select e.unique_key as key, e.id::text as job, min(e.at)::text as since, max(o.at)::text as until
  from chaos.entered e join chaos.outcome o on o.id = e.id and o.attempt = e.attempt
  where e.unique_key is not null group by e.unique_key, e.id, e.attempt order by min(e.at)`

const SEGMENTS = 'select max(number)::int as opened, (max(number) + 1 - count(*))::int as pruned from millrace.segment'

export const countOpen = (url: string): Promise<number> =>
  withSession(url, async session => {
    const { rows } = await session.query<{ open: number }>(`select count(*)::int as open ${OPEN}`)
    return rows[0]?.open ?? 0
  })

/** What the engine says of jobs that do not end, for whoever looks for the reason. */
export const describeOpen = (url: string): Promise<string[]> =>
  withSession(url, async session => {
    const text = `select coalesce(millrace.job(j.id)::text, 'unknown: ' || j.id) as job ${OPEN} limit 20`
    const { rows } = await session.query<{ job: string }>(text)
    return rows.map(({ job }) => job)
  })

/** The last word on each: it may have been deferred, carried or, before it began, replaced. */
const ATTEMPTS = `select distinct on (id, attempt) id::text as job, attempt, kind, tenant, follows, delivery, progress
  from chaos.entered order by id, attempt, at desc`

const OUTCOMES = `select id::text as job, attempt, state::text, result ->> 'nonce' as nonce, error ->> 'code' as code,
    error ->> 'message' as message, extract(epoch from at)::float8 as at
  from chaos.outcome o order by o.at`

const WAITED = `select id::text as job, attempt, name, sure, missed, extract(epoch from at)::float8 as at from chaos.waited`

const KEPT = `select job::text, nonce, missed, exists (
    select from millrace.kept_event e where e.job = k.job and e.payload ->> 'nonce' = k.nonce) as still
  from chaos.kept k`

export const readEvidence = (
  url: string,
  production: Production,
  { journal, sent }: Pick<Evidence, 'journal' | 'sent'>,
): Promise<Evidence> =>
  withSession(url, async session => {
    const read = async <Row extends object>(text: string): Promise<Row[]> => (await session.query<Row>(text)).rows
    const states = await read<{ job: string; state: string }>(
      `select job::text, state from (select job, millrace.job(job) ->> 'state' as state from chaos.enqueued) j
       where state is not null`,
    )
    return {
      ...production,
      journal,
      sent,
      enqueued: await read('select token::int, job::text, kind from chaos.enqueued'),
      entered: await read(
        `select id::text as job, max(attempt) as attempt, (array_agg(kind order by at desc))[1] as kind,
          min(occasion) as occasion, min(unique_key) as key
         from chaos.entered group by id`,
      ),
      attempts: await read(ATTEMPTS),
      outcomes: await read(OUTCOMES),
      waited: await read(WAITED),
      kept: await read(KEPT),
      problems: await read('select follow_up, event, job::text, attempt from millrace.follow_up_problem'),
      buried: new Set((await read<{ job: string }>('select job::text from chaos.buried')).map(({ job }) => job)),
      cancelled: (await read<{ job: string }>('select job::text from chaos.cancelled')).map(({ job }) => job),
      retried: (await read<{ job: string }>('select job::text from chaos.retried')).map(({ job }) => job),
      holds: await read(HOLDS),
      segments: (await read<Evidence['segments']>(SEGMENTS))[0] ?? { opened: 0, pruned: 0 },
      states: new Map(states.map(({ job, state }) => [job, state])),
    }
  })
