// Closes attempts one at a time for its callers and many per statement for the database.

import { isDataError, isLockTimeout } from './database-errors.ts'
import { attemptName, type CallbackStore, type Closed, type CloseItem } from './engine.ts'
import { type GroupingOptions, grouped } from './grouping.ts'

/** So many attempts are remembered at most. */
const MOST_HELD = 10_000

/**
 * A `close` of one attempt that shares its statement with those made at the same time. An attempt that the database
 * refuses is left alone with its error.
 *
 * So is one that somebody else's open transaction holds, such as a cancel that is not committed: the statement gives up
 * on it after a while, and the others go on without it. From then on it is tried apart from the others, two at a time,
 * so that it does not hold them up again.
 */
export function groupedClose(
  close: CallbackStore['close'],
  options: Pick<GroupingOptions<CloseItem>, 'maxSize' | 'spacingMs'>,
): (item: CloseItem) => Promise<Closed> {
  const together = grouped(close, { key: attemptName, isItemsFault, ...options })
  const apart = grouped(close, { key: attemptName, isItemsFault, maxSize: 1, parallel: 2 })
  const held = new Set<string>()
  return async item => {
    const name = attemptName(item)
    try {
      const closed = await (held.has(name) ? apart(item) : together(item))
      held.delete(name)
      return closed
    } catch (error) {
      if (held.size >= MOST_HELD) held.clear()
      if (isLockTimeout(error)) held.add(name)
      throw error
    }
  }
}

const isItemsFault = (error: unknown): boolean => isDataError(error) || isLockTimeout(error)
