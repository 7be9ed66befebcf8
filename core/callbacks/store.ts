// The store as the ingress uses it: one callback at a time, many in one statement.

import type { AttemptRef, Beat, CallbackStore, Closed, CloseItem, HeartbeatItem } from '../engine.ts'
import { type GroupingOptions, grouped } from './grouping.ts'

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

/** SQLSTATE classes in which a value is at fault: data exception, integrity violation, program limit exceeded. */
export function isDataError(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  const state = error instanceof Error && error.cause !== undefined && isDataError(error.cause)
  return state || (typeof code === 'string' && /^(22|23|54)[0-9A-Z]{3}$/.test(code))
}

const OPTIONS: GroupingOptions<AttemptRef> = {
  key: ({ segment, id, attempt }) => `${segment}.${id}.${attempt}`,
  isItemsFault: isDataError,
}
