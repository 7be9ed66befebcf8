// Answers many concurrent items with few calls, without making a lone item wait.

export interface GroupingOptions<Item> {
  /** Items in one call, at most: 200. */
  readonly maxSize?: number
  /** Calls under way at once, at most: 4. */
  readonly parallel?: number
  /** Another call goes beside those under way only once they have taken longer than this: 20 ms. */
  readonly patienceMs?: number
  /** Calls begin at least that far apart unless there is enough for a whole one: 0 ms. A lone item still goes at once. */
  readonly spacingMs?: number
  /** Items with the same key never share a call. */
  readonly key: (item: Item) => string
  /** True when an error may be the fault of a single item; the others are then tried without it. */
  readonly isItemsFault: (error: unknown) => boolean
}

/** As many calls as halves would take, but fewer that fail, which may take long. */
const PARTS = 8

interface Waiting<Item, Answer> {
  readonly item: Item
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
}

/**
 * Wraps `run`, which takes many items at once and answers in their order, as a function of one item.
 *
 * An item that finds nobody else goes at once, those that arrive while a call is under way go together in the next one.
 * So the busier it is the larger the groups get, and the fewer calls an item costs. Calls go one after the other as long
 * as they are quick, since few large ones cost the database less than many small ones; a slow one does not hold up what
 * comes after it.
 *
 * A call that fails answers nobody: all of its items are rejected with its error, or, where one of them may be at
 * fault, parts of them are called again on their own until it stands alone.
 */
export function grouped<Item, Answer>(
  run: (items: readonly Item[]) => Promise<readonly Answer[]>,
  options: GroupingOptions<Item>,
): (item: Item) => Promise<Answer> {
  const { maxSize = 200, parallel = 4, patienceMs = 20, spacingMs = 0, key, isItemsFault } = options
  const queue: Waiting<Item, Answer>[] = []
  let underWay = 0
  let lastBegan = Number.NEGATIVE_INFINITY
  let pumpsLater = false

  const call = async (group: readonly Waiting<Item, Answer>[]): Promise<void> => {
    try {
      const answers = await run(group.map(({ item }) => item))
      if (answers.length !== group.length) throw new Error(`${answers.length} answers to ${group.length} items`)
      for (const [i, { resolve }] of group.entries()) resolve(answers[i] as Answer)
    } catch (error) {
      if (group.length > 1 && isItemsFault(error)) await callParts(group)
      else for (const { reject } of group) reject(error)
    }
  }

  const callParts = async (group: readonly Waiting<Item, Answer>[]): Promise<void> => {
    const size = Math.ceil(group.length / PARTS)
    for (let from = 0; from < group.length; from += size) await call(group.slice(from, from + size))
  }

  /** Milliseconds until the next call may begin. */
  const wait = (): number => {
    if (underWay >= parallel) return Number.POSITIVE_INFINITY
    const apart = underWay > 0 ? patienceMs : queue.length < maxSize ? spacingMs : 0
    return lastBegan + apart - performance.now()
  }

  const pump = (): void => {
    while (queue.length > 0 && wait() <= 0) {
      underWay++
      lastBegan = performance.now()
      void call(takeGroup(queue, maxSize, key)).then(() => {
        underWay--
        pump()
      })
    }
    // While a call is under way its end pumps.
    if (queue.length > 0 && underWay === 0 && !pumpsLater) {
      pumpsLater = true
      setTimeout(
        () => {
          pumpsLater = false
          pump()
        },
        Math.max(0, wait()),
      )
    }
  }

  return item =>
    new Promise((resolve, reject) => {
      queue.push({ item, resolve, reject })
      pump()
    })
}

/**
 * Takes from the front. An item whose key is taken already stays, in its order, for a later group, so that one key that
 * is repeated without end holds nobody else up; the look-ahead is bounded.
 */
function takeGroup<Item, Answer>(
  queue: Waiting<Item, Answer>[],
  maxSize: number,
  key: (item: Item) => string,
): Waiting<Item, Answer>[] {
  const group = new Map<string, Waiting<Item, Answer>>()
  const repeated: Waiting<Item, Answer>[] = []
  let seen = 0
  for (; seen < queue.length && seen < 10 * maxSize && group.size < maxSize; seen++) {
    const next = queue[seen] as Waiting<Item, Answer>
    const name = key(next.item)
    if (group.has(name)) repeated.push(next)
    else group.set(name, next)
  }
  queue.splice(0, seen, ...repeated)
  return [...group.values()]
}
