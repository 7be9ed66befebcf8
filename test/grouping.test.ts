// Grouping: concurrent items share calls, and none gets an answer that is not its own.

import { expect, test } from 'vitest'
import { type GroupingOptions, grouped } from '../core/grouping.ts'

/** Calls that end when they are told to, with what they were called with. */
function calls() {
  const made: { items: readonly string[]; answer: (answers?: readonly string[]) => void; fail: (e: Error) => void }[] =
    []
  const run = (items: readonly string[]) =>
    new Promise<readonly string[]>((resolve, fail) => {
      made.push({ items, answer: (answers = items.map(item => `${item}!`)) => resolve(answers), fail })
    })
  return { made, run }
}

const settled = () => new Promise(resolve => setImmediate(resolve))
const options = (more: Partial<GroupingOptions<string>> = {}): GroupingOptions<string> => ({
  parallel: 1,
  key: item => item,
  isItemsFault: error => error instanceof RangeError,
  ...more,
})

test('a lone item does not wait', () => {
  const { made, run } = calls()
  void grouped(run, options())('a')
  expect(made.map(({ items }) => items)).toEqual([['a']])
})

test('what arrives while calls are under way goes together, in order, as large as allowed', async () => {
  const { made, run } = calls()
  const ask = grouped(run, options({ maxSize: 3 }))
  const answers = Promise.all(['a', 'b', 'c', 'd', 'e'].map(ask))
  for (const nth of [0, 1, 2]) {
    made[nth]?.answer()
    await settled()
  }
  expect(made.map(({ items }) => items)).toEqual([['a'], ['b', 'c', 'd'], ['e']])
  expect(await answers).toEqual(['a!', 'b!', 'c!', 'd!', 'e!'])
})

test('calls go side by side once the first has taken long enough', () => {
  const { made, run } = calls()
  const ask = grouped(run, options({ parallel: 2, patienceMs: 60_000 }))
  for (const item of ['a', 'b']) void ask(item)
  expect(made.map(({ items }) => items)).toEqual([['a']])
})

test('but no more than allowed', () => {
  const { made, run } = calls()
  const ask = grouped(run, options({ parallel: 2, patienceMs: 0 }))
  for (const item of ['a', 'b', 'c']) void ask(item)
  expect(made.map(({ items }) => items)).toEqual([['a'], ['b']])
})

test('two callbacks of one attempt never share a call, so each learns what came before it', async () => {
  const { made, run } = calls()
  const ask = grouped(run, options())
  for (const item of ['a', 'b', 'c', 'b', 'd']) void ask(item)
  made[0]?.answer()
  await settled()
  made[1]?.answer()
  await settled()
  expect(made.map(({ items }) => items)).toEqual([['a'], ['b', 'c', 'd'], ['b']])
})

test('a call that fails answers nobody', async () => {
  const { made, run } = calls()
  const ask = grouped(run, options())
  const outcomes = Promise.allSettled(['a', 'b', 'c'].map(ask))
  made[0]?.answer()
  await settled()
  made[1]?.fail(new Error('connection lost'))
  expect((await outcomes).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected'])
  expect(made).toHaveLength(2)
})

test('nor does a call with too few answers', async () => {
  const { made, run } = calls()
  const outcome = grouped(run, options())('a')
  made[0]?.answer([])
  await expect(outcome).rejects.toThrow('0 answers to 1 items')
})

test('an item that spoils its call is left alone with its error', async () => {
  const run = async (items: readonly string[]) => {
    if (items.includes('bad')) throw new RangeError('bad')
    return items.map(item => `${item}!`)
  }
  const ask = grouped(run, options())
  const outcomes = await Promise.allSettled(['a', 'b', 'bad', 'c', 'd', 'e'].map(ask))
  expect(outcomes.map(outcome => (outcome.status === 'fulfilled' ? outcome.value : outcome.reason.message))).toEqual([
    'a!',
    'b!',
    'bad',
    'c!',
    'd!',
    'e!',
  ])
})
