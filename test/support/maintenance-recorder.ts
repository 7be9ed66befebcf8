// A list of what happened that can be waited on, for what is there already and for what is yet to come.

import { inspect } from 'node:util'

/** Some of an item's fields, or a condition on it. */
export type Match<T> = Partial<Record<keyof (T extends T ? T : never) | string, unknown>> | ((item: T) => boolean)

/** A wait that lasts this long will not end; the error says what was seen instead. */
const PATIENCE_MS = 15_000

export class Recorder<T extends object> {
  readonly all: T[] = []
  readonly #looking = new Set<() => void>()

  readonly push = (item: T): void => {
    this.all.push(item)
    for (const look of this.#looking) look()
  }

  of(match: Match<T>): T[] {
    return this.all.filter(item => fits(item, match))
  }

  /** Resolves with the matching items once there are `count` of them. */
  until(match: Match<T>, count = 1): Promise<T[]> {
    const { promise, resolve, reject } = Promise.withResolvers<T[]>()
    const look = () => {
      const found = this.of(match)
      if (found.length >= count) resolve(found)
    }
    const timer = setTimeout(() => reject(new Error(this.#missing(match, count))), PATIENCE_MS)
    this.#looking.add(look)
    look()
    return promise.finally(() => {
      clearTimeout(timer)
      this.#looking.delete(look)
    })
  }

  /** As {@link until}, for a single one. */
  async first(match: Match<T>): Promise<T> {
    const [item] = await this.until(match)
    return item as T
  }

  #missing(match: Match<T>, count: number): string {
    const seen = this.all.slice(-20).map(item => inspect(item, { depth: 1, breakLength: Number.POSITIVE_INFINITY }))
    const wanted = typeof match === 'function' ? String(match) : JSON.stringify(match)
    return `${this.of(match).length} of ${count} ${wanted}; the last that happened:\n${seen.join('\n')}`
  }
}

const fits = <T extends object>(item: T, match: Match<T>): boolean =>
  typeof match === 'function'
    ? match(item)
    : Object.entries(match).every(([key, value]) => (item as Record<string, unknown>)[key] === value)
