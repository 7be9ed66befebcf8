// What a function is told of the schedule that enqueued its job.

import { expect, test } from 'vitest'
import type { Json } from '../core/index.ts'
import { resizing, startFunction } from './support/function.ts'

const told = async (metadata: { [key: string]: Json }) => {
  const { send } = await startFunction([
    resizing((_, { schedule }) => (schedule ? { ...schedule, at: schedule.at.toISOString() } : null)),
  ])
  const response = await send({ body: { metadata } })
  return response.json()
}

test('which one it is, and the time of the occurrence', async () => {
  const schedule = { name: 'nightly', at: '2026-03-29T01:00:00.000Z' }
  expect(await told({ schedule })).toEqual({ ...schedule, triggered: false })
  expect(await told({ schedule: { ...schedule, triggered: true } })).toEqual({ ...schedule, triggered: true })
})

test.each([
  {},
  { schedule: null },
  { schedule: 'nightly' },
  { schedule: [1] },
  { schedule: { name: 'x', at: 'noon' } },
])('nothing when no schedule did: %j', async metadata => {
  expect(await told(metadata)).toBeNull()
})
