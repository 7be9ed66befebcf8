// The store as the ingress uses it: one callback at a time, many in one statement.

import { isDataError } from '../database-errors.ts'
import {
  attemptName,
  type Beat,
  type CallbackStore,
  type Closed,
  type CloseItem,
  type HeartbeatItem,
} from '../engine.ts'
import { groupedClose } from '../grouped-close.ts'
import { grouped } from '../grouping.ts'

export interface GroupedStore {
  close(item: CloseItem): Promise<Closed>
  heartbeat(item: HeartbeatItem): Promise<Beat>
}

/** Concurrent callbacks share statements; each is fenced and answered on its own. */
export function groupedStore(store: CallbackStore): GroupedStore {
  return {
    close: groupedClose(items => store.close(items), { spacingMs: SPACING_MS }),
    heartbeat: grouped((items: readonly HeartbeatItem[]) => store.heartbeat(items), {
      key: attemptName,
      isItemsFault: isDataError,
      spacingMs: SPACING_MS,
    }),
  }
}

/** Short enough not to be noticed by a function that waits for its answer. */
const SPACING_MS = 5
