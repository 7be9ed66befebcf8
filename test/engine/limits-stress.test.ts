// A limit on open attempts under load: claimers, retries, callbacks, cancels, rescue, rotation and pruning at once.

import type postgres from 'postgres'
import { expect, it } from 'vitest'
import { toSql } from '../../core/drivers.ts'
import type { ClaimedJob } from '../../core/engine-rows.ts'
import { SqlEngine } from '../../core/sql-engine.ts'
import { claimAll, completed, enqueue, failed, only, ref, released, useEngine } from '../support/engine-database.ts'
import { openIn, setQueue } from '../support/queues.ts'

const database = useEngine()

const LIMIT = 7
const JOBS = 120
const CLAIMERS = 5

const below = (n: number) => Math.floor(Math.random() * n)
const oneIn = (n: number) => below(n) === 0
/** Gives up what must not wait: another transaction is in the way. */
const unlessLocked = (error: { code?: string }) => {
  if (error.code !== '55P03') throw error
}

async function cancel(sql: postgres.Sql, id: string): Promise<boolean> {
  const rows = await sql<{ cancelled: boolean }[]>`select cancelled from millrace.cancel(array[${id}::bigint])`
  return rows.some(({ cancelled }) => cancelled)
}

/** As rotate does, but at once. */
const rotate = (sql: postgres.Sql) => sql`
  insert into millrace.segment (number)
  select max(number) + 1 from millrace.segment
  having count(*) < 5 and millrace.slot_is_free(((max(number) + 1) % 8)::smallint)`

it('is never passed, and never keeps jobs waiting for good', async () => {
  const connections = await database.connections(CLAIMERS + 3)
  const [maintainer, monitor, producer, ...claimers] = connections as [postgres.Sql, postgres.Sql, postgres.Sql]
  await database.sql`update millrace.setting set value = 0 where name in ('retention_seconds', 'failed_retention_seconds')`
  await setQueue(database.sql, 'mails', { max_running: LIMIT, shards: 2 })
  const finished = new Set<string>()
  const enqueued: string[] = []
  const seen: number[] = []
  // Given up when no job has ended for a long time.
  let progress = { finished: 0, at: performance.now() }
  const going = () => {
    if (finished.size > progress.finished) progress = { finished: finished.size, at: performance.now() }
    return (enqueued.length < JOBS || finished.size < enqueued.length) && performance.now() - progress.at < 10_000
  }

  const produce = async () => {
    while (enqueued.length < JOBS)
      enqueued.push(...(await enqueue(producer, 1 + below(8), { queue: 'mails', priority: 1 + below(4) })))
  }

  const end = async (sql: postgres.Sql, engine: SqlEngine, job: ClaimedJob) => {
    const outcome = [completed, completed, completed, failed('broken', 0), released][below(5)] ?? completed
    if (oneIn(3)) await engine.park([ref(job)], 60)
    if (oneIn(10) && (await cancel(sql, job.id))) finished.add(job.id)
    const { state } = only(await engine.close([{ ...ref(job), outcome }]))
    if (['completed', 'failed', 'cancelled'].includes(state)) finished.add(job.id)
    // Once it is cancelled, its segment may be gone.
    else if (!finished.has(job.id)) expect(state).not.toBe('unknown')
  }

  const work = async (sql: postgres.Sql) => {
    const engine = new SqlEngine(toSql(sql))
    while (going()) {
      const runtime = await engine.runtimeStart('test')
      const jobs = await engine.claim(runtime, 1 + below(6))
      if (oneIn(8)) await sql`update millrace.runtime set lost_at = now() - interval '1 second' where id = ${runtime}`
      else for (const job of jobs) await end(sql, engine, job)
    }
  }

  const maintain = async () => {
    const engine = new SqlEngine(toSql(maintainer))
    for (let round = 0; going(); round++) {
      await maintainer`update millrace.deferred set run_at = now() where run_at > now()`
      await engine.promote(100)
      await engine.rescue(100)
      if (round % 10 !== 0) continue
      await rotate(maintainer)
      await maintainer`select millrace.survey()`
      await maintainer`select millrace.prune()`.catch(unlessLocked)
    }
  }

  const watch = async () => {
    while (going()) seen.push(await openIn(monitor, 'mails'))
  }

  await Promise.all([produce(), maintain(), watch(), ...claimers.map(work)])
  const left = enqueued.filter(id => !finished.has(id))
  expect(await Promise.all(left.map(id => database.engine.job(id)))).toEqual([])
  expect(Math.max(...seen)).toBe(LIMIT)

  // All places are free again.
  await enqueue(database.sql, LIMIT + 3, { queue: 'mails' })
  expect(await claimAll(database)).toHaveLength(LIMIT)
}, 60_000)
