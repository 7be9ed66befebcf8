// Breaks things, one after the other, at random moments.

import { setTimeout as wait } from 'node:timers/promises'
import type { Random } from './random.ts'

/** Something to break; resolves when it is done. What it rejects with does not matter: others break things too. */
export type Prank = () => Promise<void>

export interface Pranks {
  readonly weights: Readonly<Record<string, number>>
  readonly play: Readonly<Record<string, Prank>>
}

/** Plays pranks until `until` says so, several at a time where they take longer. Counts them into `events`. */
export async function monkey(
  { weights, play }: Pranks,
  random: Random,
  events: Record<string, number>,
  until: AbortSignal,
): Promise<void> {
  const underWay = new Set<Promise<void>>()
  while (!until.aborted) {
    await pause(random.int(150, 1_200), until)
    if (until.aborted) break
    const name = random.weighted(weights)
    const prank = (play[name] as Prank)().then(
      () => {
        events[name] = (events[name] ?? 0) + 1
      },
      () => undefined,
    )
    underWay.add(prank)
    void prank.finally(() => underWay.delete(prank))
  }
  await Promise.all(underWay)
}

/** Ends early, and quietly, when it is asked to. */
export const pause = (ms: number, until: AbortSignal): Promise<void> =>
  wait(ms, undefined, { signal: until }).catch(() => undefined)
