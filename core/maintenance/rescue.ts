// Retries attempts that nobody will close any more.

import type { OnEvent } from '../dispatch/events.ts'
import type { SqlEngine } from '../sql-engine.ts'

const AT_ONCE = 500

export interface Rescued {
  readonly rescued: number
  /** There may be more of them. */
  readonly more: boolean
}

export async function rescueOnce(engine: SqlEngine, onEvent: OnEvent): Promise<Rescued> {
  const found = await engine.rescue(AT_ONCE)
  const rescued = found.parked + found.lost
  if (rescued + found.stuck > 0) onEvent({ type: 'rescued', ...found })
  return { rescued, more: found.parked >= AT_ONCE || found.lost >= AT_ONCE }
}
