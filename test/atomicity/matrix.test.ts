// Whoever ends an attempt, and wherever it dies on the way: the end and what follows from it are both there, or neither.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { useEngine } from '../support/engine-database.ts'
import { counter, dieAt, installBreakpoints } from './breakpoints.ts'
import { type Closer, closers, KIND, type Subject } from './closers.ts'

const database = useEngine()

let whole: Awaited<ReturnType<typeof counter>>
beforeAll(async () => {
  await installBreakpoints(database.sql)
  whole = await counter(database.url)
})
afterAll(() => whole.end())

const EVENTS = ['completed', 'retried', 'failed', 'cancelled', 'rescued', 'waiting']
const SECRET = `whsec_${'A'.repeat(32)}`

/** A follow-up and a webhook for every event, so that whatever is told twice or to the wrong ones shows. */
const listen = async () => {
  const follow_ups = EVENTS.map(event => ({
    name: event,
    kinds: [KIND],
    events: [event],
    job: { kind: 'after', args: { event } },
  }))
  const manifest = {
    kinds: [],
    subscriptions: [{ name: 'shop', kinds: [KIND], events: EVENTS, url: 'https://shop.example/', secret: SECRET }],
    follow_ups,
  }
  await database.sql`select millrace.sync_manifest(${JSON.stringify(manifest)}::text::jsonb)`
}

/** Whether it has happened, and what follows from it, as somebody else sees it. */
async function seen({ events }: Closer, { id, attempt }: Subject) {
  const waiting = events.includes('waiting')
  const [row] = await database.sql<{ happened: boolean; followed: string[]; told: string[] }[]>`
    select
      case when ${waiting} then exists (select from millrace.park_log p where p.span @> ${id}::text::bigint)
        else exists (select from millrace.outcome_log where id = ${id} and attempt = ${attempt}) end as happened,
      to_json(array(select payload ->> 'event' from millrace.job_log where kind = 'after' order by 1)) as followed,
      to_json(array(select payload #>> '{event,type}' from millrace.job_log where kind = 'millrace.webhook' order by 1)) as told`
  return row
}

const all = ({ events }: Closer) => {
  const names = events.toSorted()
  return { happened: true, followed: names, told: names.map(name => `job.${name}`) }
}
const nothing = { happened: false, followed: [], told: [] }

describe('dying after any statement leaves the end with all that follows, or neither', () => {
  beforeEach(listen)

  it.for(closers)('$name', { timeout: 60_000 }, async closer => {
    const work = (subject: Subject) => (session: Parameters<Closer['act']>[0]) => closer.act(session, subject)
    const first = await closer.prepare(database)
    const steps = await whole.steps(work(first))
    expect(await seen(closer, first)).toEqual(all(closer))
    expect(steps).toBeGreaterThanOrEqual(3)

    for (let step = 1; step <= steps; step++) {
      await database.empty()
      await listen()
      const subject = await closer.prepare(database)
      expect(await dieAt(database.url, step, work(subject)), `finished beyond step ${step} of ${steps}`).toBe(false)
      expect(await seen(closer, subject), `died at step ${step} of ${steps}`).toEqual(nothing)

      await whole.steps(work(subject))
      expect(await seen(closer, subject), `done again after step ${step}`).toEqual(all(closer))
    }
  })
})
