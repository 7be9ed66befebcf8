// `tick` as a scheduled Lambda function: one at a time, and done before Lambda ends it.

import { type TickOptions, type TickSummary, tick } from '../../core/maintenance/tick.ts'
import { MaintenanceEngine } from '../../core/maintenance-engine.ts'

/** The part of Lambda's context that is used. */
export interface LambdaClock {
  getRemainingTimeInMillis(): number
}

export type ScheduledTick = TickSummary | { readonly skipped: 'another one is at work' }

/** Of those that take turns; the leader's is another. */
const LEASE = 'scheduled tick'
/** Left of the function's time-out when the tick ends: for the last statements, and for the answer. */
const MARGIN_MS = 4_000

/**
 * Ticks until nothing is left to do, or the function's time-out is near; then the next one of the schedule goes on. While one is at work,
 * others that are started end at once. The lease of one that was killed is over when its own time would have been.
 *
 * `options` is asked with the first event.
 */
export function scheduledTick(
  options: () => Omit<TickOptions, 'budgetMs'>,
): (event: unknown, context: LambdaClock) => Promise<ScheduledTick> {
  let made: Omit<TickOptions, 'budgetMs'> | undefined
  return async (_, context) => {
    made ??= options()
    const { sql, schema } = made
    const engine = new MaintenanceEngine(sql, schema === undefined ? {} : { schema })
    const holder = `scheduled tick ${crypto.randomUUID()}`
    const epoch = await engine.lead(holder, context.getRemainingTimeInMillis() / 1_000, LEASE)
    if (epoch === undefined) return { skipped: 'another one is at work' }
    try {
      return await tick({ ...made, budgetMs: Math.max(0, context.getRemainingTimeInMillis() - MARGIN_MS) })
    } finally {
      await engine.resign(holder, LEASE)
    }
  }
}
