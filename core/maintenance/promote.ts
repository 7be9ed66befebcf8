// Makes deferred jobs available whose time has come.

import type { OnEvent } from '../dispatch/events.ts'
import type { SqlEngine } from '../sql-engine.ts'

const AT_ONCE = 1_000

/** `nextInMs`: until the next job is due, 0 if there may be more now; undefined when none is deferred. */
export interface Promoted {
  readonly promoted: number
  readonly nextInMs: number | undefined
}

export async function promoteOnce(engine: SqlEngine, onEvent: OnEvent): Promise<Promoted> {
  const { promoted, nextInMs } = await engine.promote(AT_ONCE)
  if (promoted > 0) onEvent({ type: 'promoted', jobs: promoted })
  return { promoted, nextInMs: promoted === AT_ONCE ? 0 : nextInMs }
}
