// Many closers at once: duplicate, concurrent and late closes of the same attempts, in any order, and rolled back ones.

import fc from 'fast-check'
import type postgres from 'postgres'
import { expect, it } from 'vitest'
import { toSql } from '../../core/drivers.ts'
import type { AttemptRef, Closed, Outcome } from '../../core/engine.ts'
import { SqlEngine } from '../../core/sql-engine.ts'
import { claimAll, completed, enqueue, failed, putBack, ref, released, useEngine } from '../support/engine-database.ts'

const database = useEngine()

const CLOSERS = 6
const ATTEMPTS = 30

const outcomes: readonly Outcome[] = [
  completed,
  { kind: 'completed', result: { pages: 3 } },
  failed(),
  { ...failed(), retryable: false } as Outcome,
  putBack(60_000),
  released,
]

interface Call {
  /** Which attempts, in which order, with which outcomes. Repetitions are likely. */
  readonly items: readonly { readonly nth: number; readonly outcome: Outcome }[]
  readonly rollsBack: boolean
  /** Also sends heartbeats for the same attempts, in another order, at the same time. */
  readonly beats: boolean
}

const call: fc.Arbitrary<Call> = fc.record({
  items: fc.array(fc.record({ nth: fc.nat(ATTEMPTS - 1), outcome: fc.constantFrom(...outcomes) }), {
    minLength: 1,
    maxLength: 25,
    size: 'max',
  }),
  rollsBack: fc.nat(5).map(n => n === 0),
  beats: fc.boolean(),
})
const plans = fc.array(fc.array(call, { minLength: 1, maxLength: 4 }), { minLength: CLOSERS, maxLength: CLOSERS })

interface Told extends Closed {
  readonly id: string
}

/** One closer's calls, one after the other; answers what it was told by those that committed. */
async function closer(client: postgres.Sql, plan: readonly Call[], attempts: readonly AttemptRef[]): Promise<Told[]> {
  const engine = new SqlEngine(toSql(client))
  const told: Told[] = []
  for (const { items, rollsBack, beats } of plan) {
    const batch = items.map(({ nth, outcome }) => ({ ...ref(attempts[nth] as AttemptRef), outcome }))
    if (beats) await database.engine.heartbeat(batch.map(item => ({ ...item, timeoutSeconds: 60 })))
    if (rollsBack) await client`begin`
    const closing = engine.close(batch)
    const beat = beats && database.engine.heartbeat(batch.toReversed().map(item => ({ ...item, timeoutSeconds: 60 })))
    const closed = await closing
    if (rollsBack) await client`rollback`
    else told.push(...closed.map((answer, n) => ({ ...answer, id: batch[n]?.id ?? '' })))
    await beat
  }
  return told
}

interface Consequence {
  readonly what: 'outcome' | 'retry' | 'delivery'
  readonly id: string
  readonly state: string | null
}

/** The outcomes, and what follows from them, as the tables have it. */
const consequences = () => database.sql<Consequence[]>`
  select 'outcome' as what, id, state::text from millrace.outcome_log
  union all select 'retry', id, null from millrace.deferred where attempt = 2
  union all select 'retry', id, null from millrace.job_log where attempt = 2
  union all select 'delivery', (payload #>> '{event,data,job_id}')::bigint, null from millrace.job_log
    where kind = 'millrace.webhook'`

const STATES: Record<string, string> = { c: 'completed', f: 'failed', r: 'retryable', s: 'available' }

function check(told: readonly Told[], rows: readonly Consequence[]): void {
  const answers = Map.groupBy(told, ({ id }) => id)
  const recorded = Map.groupBy(rows, ({ id }) => id)
  expect(new Set(recorded.keys())).toEqual(new Set(answers.keys()))
  for (const [id, closed] of answers) {
    const facts = recorded.get(id) ?? []
    const state = STATES[facts.find(({ what }) => what === 'outcome')?.state ?? '']
    const follows = state === 'completed' || state === 'failed' ? 'delivery' : 'retry'
    expect(facts.map(({ what }) => what).toSorted(), `job ${id}, ${state}`).toEqual(['outcome', follows].toSorted())
    expect(closed.filter(({ fresh }) => fresh).length, 'fresh answers of an attempt').toBe(1)
    expect(new Set(closed.map(answer => answer.state)), 'one state for everybody').toEqual(new Set([state]))
  }
}

it('record one outcome for each attempt, tell everybody the same, and act upon it once', async () => {
  const clients = await database.connections(CLOSERS)
  await fc.assert(
    fc.asyncProperty(plans, async plan => {
      await Promise.all(clients.map(client => client`rollback`))
      await database.empty()
      await database.sql`
        insert into millrace.endpoint (name, events, url) values ('all', '{completed,failed}', 'https://a.example')`
      await enqueue(database.sql, ATTEMPTS)
      const attempts = await claimAll(database)
      const closers = clients.map((client, n) => closer(client, plan[n] ?? [], attempts))
      // All of them, so that after a failure nobody is still at it while the plan is shrunk.
      await Promise.allSettled(closers)
      check((await Promise.all(closers)).flat(), await consequences())
    }),
    { numRuns: 30 },
  )
})
