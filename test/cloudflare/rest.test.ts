// How long the maintenance object rests: until something is due, and longer and longer where nothing comes of it.

import { expect, test } from 'vitest'
import { type Memory, NEW_MEMORY, restAfter, type SliceResult } from '../../functions/cloudflare/rest.ts'

const NOW = 1_000_000
const LONGEST = 600_000
const slice = (due: { dispatchMs?: number; dutyMs?: number }, { did = true, isDuty = true } = {}): SliceResult => ({
  ...{ did, isDuty },
  due: { dispatchMs: undefined, dutyMs: undefined, ...due },
})
const rest = (result: SliceResult, before: Memory = NEW_MEMORY) => restAfter(result, before, NOW, LONGEST)

test('until the first thing that is due, and no longer than it may', () => {
  expect(rest(slice({})).inMs).toBe(LONGEST)
  expect(rest(slice({ dispatchMs: 5_000, dutyMs: 9_000 }))).toEqual({
    inMs: 5_005,
    memory: { failures: 0, fruitless: 0, dutyAt: NOW + 9_005 },
  })
  expect(rest(slice({ dispatchMs: 9_000, dutyMs: 5_000 })).inMs).toBe(5_005)
  expect(rest(slice({ dispatchMs: 1e12 })).inMs).toBe(LONGEST)
})

test('a slice that only dispatched puts no duty off', () => {
  const before = { failures: 0, fruitless: 0, dutyAt: NOW + 2_000 }
  expect(rest(slice({ dutyMs: 9_000 }, { isDuty: false }), before)).toMatchObject({ inMs: 2_000, memory: before })
  expect(rest(slice({ dutyMs: 1_000 }, { isDuty: false }), before)).toMatchObject({ inMs: 1_005 })
})

test('what is said to be due and is not is looked at more and more rarely', () => {
  const pauses: number[] = []
  let memory = NEW_MEMORY
  for (let slices = 0; slices < 14; slices++) {
    const next = rest(slice({ dispatchMs: 0 }, { did: false }), memory)
    pauses.push(next.inMs)
    memory = next.memory
  }
  expect(pauses.slice(0, 4)).toEqual([100, 200, 400, 800])
  expect(pauses.at(-1)).toBe(60_000)
  expect(rest(slice({ dispatchMs: 0 }), memory)).toMatchObject({ inMs: 5, memory: { fruitless: 0 } })
})

test('what was left for want of time goes on at once', () => {
  expect(rest({ did: true, isDuty: true, due: undefined })).toMatchObject({ inMs: 0 })
})

test('a database that is away is asked more and more rarely, once a minute at last', () => {
  const pauses: number[] = []
  let memory = NEW_MEMORY
  for (let slices = 0; slices < 8; slices++) {
    const next = rest({ failed: true }, memory)
    pauses.push(next.inMs)
    memory = next.memory
  }
  expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000])
  expect(rest(slice({}), memory).memory.failures).toBe(0)
})
