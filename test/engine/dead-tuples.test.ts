// The hot path only appends: nothing for vacuum to do.

import { expect, it, vi } from 'vitest'
import { toSql } from '../../core/drivers.ts'
import { SqlEngine } from '../../core/sql-engine.ts'
import { completed, enqueueBulk, ref, useEngine } from '../support/engine-database.ts'

const database = useEngine()
const BATCH = 100

it('enqueue, claim, park, close, rotate and prune leave no dead tuples', async () => {
  const jobs = 2_000
  const client = await database.connect()
  const engine = new SqlEngine(toSql(client))
  const runtime = await engine.runtimeStart('test')
  await enqueueBulk(client, jobs)
  for (let claimed = 0; claimed < jobs; ) {
    const batch = await engine.claim(runtime, BATCH)
    await engine.park(batch, 60)
    await engine.close(batch.map(job => ({ ...ref(job), outcome: completed })))
    claimed += batch.length
  }
  await client`update millrace.segment set opened_at = now() - interval '1 day'`
  await client`select millrace.rotate(), millrace.survey()`
  const [last] = await client`select millrace.prune() as pruned`
  expect(last?.pruned).toBeNull() // It finished a moment ago.
  await client.end() // Its statistics are complete once it is gone.

  const written = () => database.sql<{ table: string; inserted: string; spoiled: string }[]>`
    select regexp_replace(relname, '_\\d$', '') as table, sum(n_tup_ins) as inserted,
      sum(n_dead_tup + n_tup_upd + n_tup_del) as spoiled
    from pg_stat_user_tables where schemaname = 'millrace' and relname ~ '_log_|deferred|attempt_state'
    group by 1 having sum(n_tup_ins) >= ${jobs} or sum(n_dead_tup + n_tup_upd + n_tup_del) > 0 order by 1`
  await vi.waitFor(async () => {
    expect([...(await written())]).toEqual([
      { table: 'job_log', inserted: `${jobs}`, spoiled: '0' },
      { table: 'outcome_log', inserted: `${jobs}`, spoiled: '0' },
    ])
  }, 5_000)
})
