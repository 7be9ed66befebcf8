// The state in which every race begins: jobs in all states, in three segments of which the oldest may be pruned.

import { toSql } from 'millrace'
import type postgres from 'postgres'
import { SqlEngine } from '../../core/sql-engine.ts'
import { enqueue } from '../support/engine-database.ts'
import { settled } from '../support/settled.ts'

export interface Ref {
  readonly segment: string
  readonly id: string
  readonly attempt: number
}

/** Names of what is in it; the letter says the state, the number the segment. */
export interface World {
  /** Claimed: `r0` plainly, `u0` unique, `l0` by a dispatcher that died, `h1` with a heartbeat; `p0`, `p1` parked and past it. */
  readonly open: Readonly<Record<'r0' | 'u0' | 'l0' | 'p0' | 'r1' | 'h1' | 'p1' | 'r2', Ref>>
  /** Not claimed: `a1`, `a2` available, `k2` available and unique, `due` and `later` deferred. */
  readonly waiting: Readonly<Record<'a1' | 'a2' | 'k2' | 'due' | 'later' | 'retrying', string>>
  /** Ended: `f0` failed with a dead letter, `n0` without, `x0` cancelled, `c0` completed. */
  readonly ended: Readonly<Record<'f0' | 'n0' | 'x0' | 'c0', string>>
  /** Of the dispatcher that lives. */
  readonly runtime: string
  /** Of one that only drains. */
  readonly drainer: string
}

export const KEPT = 'kept'
export const HELD = 'held'

/** Builds it in an empty database. */
export async function buildWorld(sql: postgres.Sql): Promise<World> {
  const engine = new SqlEngine(toSql(sql))
  await sql`insert into millrace.queue (name, dead_letters) values ('plain', false)`
  await sql`update millrace.setting set value = 0 where name in ('retention_seconds', 'failed_retention_seconds')`
  const runtime = await engine.runtimeStart('alive')
  const lost = await engine.runtimeStart('lost')
  const drainer = await engine.runtimeStart('drainer')
  await sql`update millrace.runtime set lost_at = now() + interval '1 day'`
  await sql`select millrace.lead('maintenance', 'one', 86400)`
  const one = async (options: object = {}) => (await enqueue(sql, 1, options))[0] as string
  const take = async (by = runtime, options: object = {}): Promise<Ref> => {
    const id = await one(options)
    const job = (await engine.claim(by, 1))[0]
    if (job?.id !== id) throw new Error('claimed something else')
    return { segment: job.segment, id, attempt: job.attempt }
  }
  const park = async (): Promise<Ref> => {
    const ref = await take()
    await engine.park([ref], -60)
    return ref
  }
  const error = { code: 'reported', message: 'broken' }
  const end = async (kind: 'completed' | 'failed', options: object = {}) => {
    const ref = await take(runtime, options)
    await engine.close([{ ...ref, outcome: kind === 'completed' ? { kind } : { kind, error, retryable: false } }])
    return ref.id
  }

  const c0 = await end('completed')
  const f0 = await end('failed')
  const n0 = await end('failed', { queue: 'plain' })
  const x0 = await one()
  await sql`select millrace.cancel(array[${x0}::text::bigint])`
  const [r0, u0, l0, p0] = [await take(), await take(runtime, { unique_key: HELD }), await take(lost), await park()]
  await engine.claim(runtime, 1) // passes the cancelled one
  await nextSegment(sql)
  const [r1, h1, p1, a1] = [await take(), await take(), await park(), await one()]
  await engine.heartbeat([{ ...h1, timeoutSeconds: -60, progress: { percent: 5 } }])
  await nextSegment(sql)
  // Of a queue of its own, for a1 is ahead of it in the other one.
  const claimOther = async (): Promise<Ref> => {
    const id = await one({ queue: 'other' })
    const [job] = await engine.claim(runtime, 1, ['default', 'plain'])
    if (job?.id !== id) throw new Error('claimed something else')
    return { segment: job.segment, id, attempt: job.attempt }
  }
  const r2 = await claimOther()
  const failing = await claimOther()
  await engine.close([{ ...failing, outcome: { kind: 'failed', error, retryable: true, delayMs: 86_400_000 } }])
  const a2 = await one()
  const k2 = await one({ unique_key: KEPT })
  const later = await one({ delay_seconds: 3600 })
  const due = await one({ delay_seconds: 3600 })
  await sql`update millrace.deferred set run_at = now() - interval '1 hour' where id = ${due}`
  await sql`update millrace.runtime set lost_at = '-infinity' where id = ${lost}`
  await settled(sql)
  await sql`select millrace.survey()`
  const drained = await sql`select number from millrace.segment where drained`
  if (drained.length !== 1) throw new Error(`${drained.length} segments are drained`)
  await sql`update millrace.setting set value = 0 where name = 'rotate_seconds'`
  return {
    open: { r0, u0, l0, p0, r1, h1, p1, r2 },
    waiting: { a1, a2, k2, due, later, retrying: failing.id },
    ended: { f0, n0, x0, c0 },
    runtime,
    drainer,
  }
}

async function nextSegment(sql: postgres.Sql): Promise<void> {
  await sql`update millrace.setting set value = 0 where name = 'rotate_seconds'`
  const [row] = await sql`select millrace.rotate() as number`
  if (row?.number === null) throw new Error('not rotated')
  await sql`update millrace.setting set value = 14400 where name = 'rotate_seconds'`
}
