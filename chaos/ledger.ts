// Reads the run's books: what is still open, and in the end all there is to audit.

import type { Evidence } from './audit.ts'
import type { Entry } from './journal.ts'
import type { Production } from './producer.ts'
import { withSession } from './session.ts'

/** Jobs, webhook deliveries included, whose newest attempt has no end that is one. */
const OPEN = `from (select id, max(attempt) as attempt, min(kind) as kind from chaos.entered group by id) j
  where not exists (select from chaos.outcome o where o.id = j.id and o.attempt = j.attempt and o.state in ('c', 'f', 'x'))`

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

export const readEvidence = (url: string, production: Production, journal: readonly Entry[]): Promise<Evidence> =>
  withSession(url, async session => {
    const read = async <Row extends object>(text: string): Promise<Row[]> => (await session.query<Row>(text)).rows
    const states = await read<{ job: string; state: string }>(
      `select job::text, state from (select job, millrace.job(job) ->> 'state' as state from chaos.enqueued) j
       where state is not null`,
    )
    return {
      ...production,
      journal,
      enqueued: await read('select token::int, job::text, kind from chaos.enqueued'),
      entered: await read(
        'select id::text as job, max(attempt) as attempt, min(kind) as kind from chaos.entered group by id',
      ),
      outcomes: await read(
        `select id::text as job, attempt, state::text, result ->> 'nonce' as nonce from chaos.outcome order by at`,
      ),
      states: new Map(states.map(({ job, state }) => [job, state])),
    }
  })
