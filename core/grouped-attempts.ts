// A verb on attempts, one at a time for its callers and many per statement for the database.

import { isDataError, isLockTimeout } from './database-errors.ts'
import { type AttemptRef, attemptName } from './engine.ts'
import { type GroupingOptions, grouped } from './grouping.ts'

/** So many attempts are remembered at most. */
const MOST_HELD = 10_000

/**
 * A verb of one attempt that shares its statement with those asked for at the same time. An attempt that the database
 * refuses is left alone with its error.
 *
 * So is one that somebody else's open transaction holds, such as a cancel that is not committed: the statement gives up
 * on it after a while, and the others go on without it. From then on it is tried apart from the others, two at a time,
 * so that it does not hold them up again.
 */
export function groupedAttempts<Item extends AttemptRef, Answer>(
  verb: (items: readonly Item[]) => Promise<readonly Answer[]>,
  options: Pick<GroupingOptions<Item>, 'maxSize' | 'spacingMs'>,
): (item: Item) => Promise<Answer> {
  const together = grouped(verb, { key: attemptName, isItemsFault, ...options })
  const apart = grouped(verb, { key: attemptName, isItemsFault, maxSize: 1, parallel: 2 })
  const held = new Set<string>()
  return async item => {
    const name = attemptName(item)
    try {
      const answer = await (held.has(name) ? apart(item) : together(item))
      held.delete(name)
      return answer
    } catch (error) {
      if (held.size >= MOST_HELD) held.clear()
      if (isLockTimeout(error)) held.add(name)
      throw error
    }
  }
}

const isItemsFault = (error: unknown): boolean => isDataError(error) || isLockTimeout(error)
