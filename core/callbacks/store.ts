// The store as the ingress uses it: one callback at a time, many in one statement.

import { isDataError } from '../database-errors.ts'
import {
  type AttemptRef,
  attemptName,
  type Beat,
  type CallbackStore,
  type Closed,
  type CloseItem,
  type HeartbeatItem,
} from '../engine.ts'
import { type GroupingOptions, grouped } from '../grouping.ts'

export interface GroupedStore {
  close(item: CloseItem): Promise<Closed>
  heartbeat(item: HeartbeatItem): Promise<Beat>
}

/** Concurrent callbacks share statements; each is fenced and answered on its own. */
export function groupedStore(store: CallbackStore): GroupedStore {
  return {
    close: grouped((items: readonly CloseItem[]) => store.close(items), OPTIONS),
    heartbeat: grouped((items: readonly HeartbeatItem[]) => store.heartbeat(items), OPTIONS),
  }
}

const OPTIONS: GroupingOptions<AttemptRef> = {
  key: attemptName,
  isItemsFault: isDataError,
  // Short enough not to be noticed by a function that waits for its answer.
  spacingMs: 5,
}
