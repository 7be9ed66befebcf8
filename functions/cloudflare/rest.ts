// How long the maintenance object rests after a slice of work. All times in milliseconds.

import type { NextDue } from '../../core/maintenance/next-due.ts'

/** What the object remembers from slice to slice, also when it was evicted in between. */
export interface Memory {
  /** Slices that failed, one after another. */
  readonly failures: number
  /** Slices that found nothing to do, one after another. */
  readonly fruitless: number
  /** When the next slice is to do everything, not only to dispatch. */
  readonly dutyAt: number
}

/** What a slice came to. */
export type SliceResult =
  | { readonly failed: true }
  /** `due`: undefined when its budget was over before the work. */
  | { readonly failed?: false; readonly did: boolean; readonly isDuty: boolean; readonly due: NextDue | undefined }

export interface Rest {
  readonly memory: Memory
  readonly inMs: number
}

export const NEW_MEMORY: Memory = { failures: 0, fruitless: 0, dutyAt: 0 }

const FIRST_FAILURE_MS = 1_000
const LONGEST_FAILURE_MS = 60_000
const FIRST_FRUITLESS_MS = 100
const LONGEST_FRUITLESS_MS = 60_000
/** The database says how long it is until then; a little later it certainly is. */
const MARGIN_MS = 5

/** What is said to be due, and then is not, is looked at more and more rarely. */
export function restAfter(result: SliceResult, before: Memory, now: number, longestMs: number): Rest {
  if (result.failed) {
    const inMs = Math.min(LONGEST_FAILURE_MS, FIRST_FAILURE_MS * 2 ** before.failures)
    return { memory: { ...before, failures: Math.min(before.failures + 1, 30) }, inMs }
  }
  const fruitless = result.did ? 0 : Math.min(before.fruitless + 1, 30)
  const least = fruitless === 0 ? 0 : Math.min(LONGEST_FRUITLESS_MS, FIRST_FRUITLESS_MS * 2 ** (fruitless - 1))
  const { due } = result
  if (due === undefined) return { memory: { failures: 0, fruitless, dutyAt: before.dutyAt }, inMs: least }
  const after = (ms = longestMs) => Math.min(longestMs, Math.max(least, ms + MARGIN_MS))
  const dutyAt = now + after(due.dutyMs)
  const memory = { failures: 0, fruitless, dutyAt: result.isDuty ? dutyAt : Math.min(before.dutyAt, dutyAt) }
  return { memory, inMs: Math.max(least, Math.min(after(due.dispatchMs), memory.dutyAt - now)) }
}
