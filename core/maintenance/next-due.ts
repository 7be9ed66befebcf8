// When there is something to do for maintenance next, for a platform that sleeps between slices of it.

import { MaintenanceEngine } from '../maintenance-engine.ts'
import type { Sql } from '../sql.ts'
import { SqlEngine } from '../sql-engine.ts'

export interface NextDueOptions {
  readonly sql: Sql
  /** `millrace` unless given. */
  readonly schema?: string | undefined
  readonly name?: string | undefined
}

/** Milliseconds each; undefined: nothing is known of. */
export interface NextDue {
  /** Until a tick finds jobs to send, if nobody enqueues any before. */
  readonly dispatchMs: number | undefined
  /** Until there is something else: attempts to rescue, a schedule to fire, a chore. */
  readonly dutyMs: number | undefined
}

/** The lease of somebody else is looked at no more often. */
const LEAST_LEASE_MS = 30_000
/** How soon to look again at what could not be claimed or done, which is then looked at more and more rarely. */
const LOOK_AGAIN_MS = 1_000
const CHORES_AGAIN_MS = 10_000
/** No runtime has it: whoever asks is not at work. */
const NOBODY = '0'

/**
 * Asks in two statements, after a {@link tick} with nothing left. What becomes known later (somebody enqueues, a heartbeat
 * shortens a lease) is not in it, so look again after a while, whatever it says.
 */
export async function nextDue({ sql, schema, name = 'tick' }: NextDueOptions): Promise<NextDue> {
  const options = schema === undefined ? {} : { schema }
  const [engine, maintenance] = [new SqlEngine(sql, options), new MaintenanceEngine(sql, options)]
  const holder = `${name} ${crypto.randomUUID()}`
  // Only the leader is told of schedules and chores.
  const pulse = await maintenance.pulse({ runtime: NOBODY, holder, everyMs: 1_000, asleep: true })
  if (pulse.epoch !== undefined) await maintenance.resign(holder)
  const leaseMs = pulse.leaseMs === undefined ? undefined : Math.max(LEAST_LEASE_MS, pulse.leaseMs)
  const dutyMs = least([pulse.rescueMs, pulse.fireMs, leaseMs, pulse.chores.length > 0 ? CHORES_AGAIN_MS : undefined])
  const leftMs = pulse.work ? ((await engine.limitedMs()) ?? LOOK_AGAIN_MS) : undefined
  return { dispatchMs: least([pulse.promoteMs, leftMs]), dutyMs }
}

const least = (instants: readonly (number | undefined)[]): number | undefined => {
  const known = instants.filter(ms => ms !== undefined)
  return known.length === 0 ? undefined : Math.max(0, Math.min(...known))
}
