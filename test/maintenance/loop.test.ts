// When loops run: as they ask, when told, once more when told during a run, and more rarely when in vain.

import { expect, onTestFinished, test, vi } from 'vitest'
import { ChoreTimer } from '../../core/maintenance/chore.ts'
import { Loop, WHEN_TOLD } from '../../core/maintenance/loop.ts'

/** A loop whose runs are counted. */
function looping(again: (run: number) => number | Promise<number>) {
  let runs = 0
  const errors: unknown[] = []
  const loop = new Loop(
    'test',
    async () => again(++runs),
    event => errors.push(event),
  )
  onTestFinished(() => loop.stop())
  const reaches = (count: number) => vi.waitFor(() => expect(runs).toBe(count), { interval: 1 })
  return { loop, reaches, errors, runs: () => runs }
}

test('it runs again after as long as it asked for', async () => {
  const { loop, reaches } = looping(run => (run < 3 ? 5 : WHEN_TOLD))
  loop.start()
  await reaches(3)
})

test('one that waits to be told runs when woken and when due, the earlier of two times', async () => {
  const { loop, reaches } = looping(() => WHEN_TOLD)
  loop.start(WHEN_TOLD)
  loop.wake()
  await reaches(1)
  loop.dueIn(3_600_000)
  loop.dueIn(5)
  loop.dueIn(WHEN_TOLD)
  await reaches(2)
})

test('what it is told during a run makes it run once more', async () => {
  const held = Promise.withResolvers<number>()
  const { loop, reaches } = looping(run => (run === 1 ? held.promise : WHEN_TOLD))
  loop.start()
  await reaches(1)
  loop.wake()
  loop.wake()
  held.resolve(WHEN_TOLD)
  await reaches(2)
})

test('a run that fails is reported and repeated', async () => {
  const { loop, reaches, errors } = looping(run => {
    if (run === 1) throw new Error('broken')
    return WHEN_TOLD
  })
  loop.start()
  await reaches(2)
  expect(errors).toEqual([{ type: 'error', during: 'test', error: new Error('broken') }])
})

test('stopping waits for the run under way and cuts a wait short', async () => {
  const held = Promise.withResolvers<number>()
  const { loop, reaches, runs } = looping(() => held.promise)
  loop.start()
  await reaches(1)
  const stopped = loop.stop()
  held.resolve(3_600_000)
  await stopped
  expect(runs()).toBe(1)
})

test('a chore that finds nothing is done more and more rarely; one that does something, as often as may be', () => {
  const timer = new ChoreTimer({ leastMs: 10, mostMs: 35 })
  expect(timer.dueMs(0)).toBe(0)
  const pauses = [{ did: 0 }, { did: 0 }, { did: 0 }, { did: 2 }, { did: 0 }].map(done => {
    timer.ran(done, 1_000)
    return timer.dueMs(1_000)
  })
  expect(pauses).toEqual([10, 20, 35, 10, 10])
  timer.ran({ did: 1, more: true }, 1_000)
  expect(timer.dueMs(1_000)).toBe(0)
})
