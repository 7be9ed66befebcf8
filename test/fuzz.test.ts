// A part of the fuzz run: 3,000 generated requests at ingress and API; `npm run fuzz` sends as many as one likes.

import { cloneDatabase } from 'millrace/testing'
import { expect, inject, test } from 'vitest'
import { readOptions } from '../fuzz/options.ts'
import { runFuzz } from '../fuzz/run.ts'

test('nothing breaks, every refusal is as documented, and nobody changes what they may not', {
  timeout: 240_000,
}, async () => {
  const { url, template } = inject('postgres')
  const report = await runFuzz({
    ...{ requests: 3_000, seed: Math.floor(Math.random() * 2 ** 31) },
    progress: () => undefined,
    createDatabase: () => cloneDatabase(url, template),
  })
  expect(report.failure).toBeUndefined()
  expect(report.requests).toBeGreaterThanOrEqual(3_000)
  // All of it was tried: forgeries, right signatures, right keys.
  const tried = Object.keys(report.answers)
  for (const name of [
    'strangers ingress 401',
    'strangers api 401',
    'signed ingress 200',
    'tenants api 200',
    'operators api 200',
  ]) {
    expect(tried).toContain(name)
  }
})

test('its options are checked', () => {
  expect(readOptions(['--requests', '5', '--seed', '7', '--path', '0:1'])).toMatchObject({
    requests: 5,
    seed: 7,
    path: '0:1',
  })
  expect(readOptions(['--help'])).toBeUndefined()
  for (const args of [['--requests', '0'], ['--seed', 'x'], ['--path', 'x'], ['--nope']]) {
    expect(() => readOptions(args)).toThrow()
  }
})
