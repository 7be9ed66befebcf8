// The store as the ingress uses it: one callback at a time, many in one statement.

import type { Beat, CallbackStore, Closed, CloseItem, HeartbeatItem } from '../engine.ts'
import { groupedAttempts } from '../grouped-attempts.ts'

export interface GroupedStore {
  close(item: CloseItem): Promise<Closed>
  heartbeat(item: HeartbeatItem): Promise<Beat>
}

/** Short enough not to be noticed by a function that waits for its answer. */
const OPTIONS = { spacingMs: 5 }

/** Concurrent callbacks share statements; each is fenced and answered on its own. */
export function groupedStore(store: CallbackStore): GroupedStore {
  return {
    close: groupedAttempts((items: readonly CloseItem[]) => store.close(items), OPTIONS),
    heartbeat: groupedAttempts((items: readonly HeartbeatItem[]) => store.heartbeat(items), OPTIONS),
  }
}
