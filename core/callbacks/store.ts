// The store as the ingress uses it: one callback at a time, many in one statement.

import type { Beat, CallbackStore, Closed, CloseItem, EventStore, HeartbeatItem } from '../engine.ts'
import { groupedAttempts } from '../grouped-attempts.ts'

export interface GroupedStore extends EventStore {
  close(item: CloseItem): Promise<Closed>
  heartbeat(item: HeartbeatItem): Promise<Beat>
}

/** Short enough not to be noticed by a function that waits for its answer. */
const OPTIONS = { spacingMs: 5 }

/** Concurrent callbacks share statements; each is fenced and answered on its own. */
export function groupedStore(store: CallbackStore): GroupedStore {
  return {
    close: groupedAttempts((items: readonly CloseItem[]) => store.close(items), OPTIONS),
    wait: (item, tried) => store.wait(item, tried),
    sendEvent: item => store.sendEvent(item),
    heartbeat: groupedAttempts((items: readonly HeartbeatItem[]) => store.heartbeat(items), OPTIONS),
  }
}
