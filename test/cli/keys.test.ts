// `millrace keys`: rotation step by step, and lists that show no secret.

import { deriveDispatchKeyring, formatKeyring, parseKeyring } from 'millrace/protocol'
import { expect, test } from 'vitest'
import { runCli } from '../support/cli.ts'

const [oldKey, newKey] = [`old:${'07'.repeat(32)}`, `new:${'08'.repeat(32)}`]

const keys = (args: readonly string[], keyring = oldKey) => runCli(['keys', ...args, '--keys', keyring])
const kidsOf = (text: string) => parseKeyring(text.trim()).keys.map(({ kid }) => kid)

test('rotate puts a new key at the end, rotate --activate brings it to the front, and the next rotation drops the old one', async () => {
  const first = (await keys(['rotate', '--kid', 'new'])).stdout
  expect(first).toMatch(/^old:(07){32},new:[0-9a-f]{64}\n$/)
  const second = (await keys(['rotate', '--activate'], first)).stdout
  expect(second.trim().split(',')).toEqual(first.trim().split(',').reverse())
  const next = (await keys(['rotate', '--kid', 'newer'], second)).stdout
  expect(kidsOf(next)).toEqual(['new', 'old', 'newer'])
  expect(kidsOf((await keys(['rotate', '--activate'], next)).stdout)).toEqual(['newer', 'new'])
})

test('a data keyring keeps all its keys', async () => {
  const { stdout } = await keys(['rotate', '--activate', '--keep'], `${oldKey},${newKey},newest:${'09'.repeat(32)}`)
  expect(kidsOf(stdout)).toEqual(['newest', 'old', 'new'])
})

test('under --json it names the keys, and has what functions get', async () => {
  const { stdout, stderr } = await keys(['rotate', '--json'])
  const { keyring, kids, dispatch_keyring } = JSON.parse(stdout)
  expect({ kids, stderr }).toEqual({ kids: ['old', expect.stringMatching(/^k\d{8}$/)], stderr: '' })
  expect(dispatch_keyring).toBe(formatKeyring(deriveDispatchKeyring(parseKeyring(keyring))))
})

test('keys of one day have different ids, and what is active already is not turned back', async () => {
  const { stdout: keyring } = await runCli(['keys', 'generate'])
  const { stdout: first } = await keys(['rotate'], keyring)
  expect(kidsOf(first)).toEqual(kidsOf(keyring).flatMap(kid => [kid, `${kid}b`]))
  const { stdout: second } = await keys(['rotate', '--activate'], first)
  const again = await keys(['rotate', '--activate', '--json'], second)
  expect({ status: again.status, ...JSON.parse(again.stderr) }).toMatchObject({
    status: 1,
    error: { code: 'invalid_keyring', message: expect.stringContaining('signs already') },
  })
})

test('what stands in the wrong place is not quoted with its secret', async () => {
  const wrong = await runCli(['keys', 'list', oldKey])
  expect(wrong).toMatchObject({ status: 2, stderr: expect.stringContaining("Unexpected argument 'old:***'") })
  const { stderr } = await runCli(['callbacks', 'postgres://app:hunter2@db.example/shop'])
  expect(stderr).toContain('postgres://app:***@db.example/shop')
})

test.each([
  ['one key cannot be activated', ['rotate', '--activate'], 1],
  ['an id that is taken', ['rotate', '--kid', 'old'], 1],
  ['an id that is none', ['rotate', '--kid', 'a b'], 1],
  ['an id for nothing', ['rotate', '--activate', '--kid', 'x'], 2],
  ['no such command', ['turn'], 2],
])('%s: refused, without repeating a secret', async (_, args, status) => {
  const run = await keys(args)
  expect(run).toMatchObject({ status, stdout: '' })
  expect(run.stderr).toMatch(/\[(invalid_keyring|usage)\]/)
  expect(run.stderr).not.toContain('0707')
})

test('list tells what each key does, and no secret', async () => {
  const ring = `${oldKey},${newKey}`
  const { items } = JSON.parse((await keys(['list', '--json'], ring)).stdout)
  expect(items.map(({ kid, use }: { kid: string; use: string }) => [kid, use])).toEqual([
    ['old', 'signs and verifies'],
    ['new', 'verifies'],
  ])
  const dispatch = formatKeyring(deriveDispatchKeyring(parseKeyring(ring)))
  const ofFunctions = JSON.parse((await keys(['list', '--json'], dispatch)).stdout).items
  const fingerprints = (list: Record<string, string>[], name: string) => list.map(item => item[name])
  expect(fingerprints(ofFunctions, 'fingerprint')).toEqual(fingerprints(items, 'dispatch_fingerprint'))
  expect(new Set([...fingerprints(items, 'fingerprint'), ...fingerprints(ofFunctions, 'fingerprint')]).size).toBe(4)

  const { stdout } = await keys(['list'], ring)
  for (const secret of [ring, dispatch].flatMap(text => text.match(/[0-9a-f]{64}/g) ?? [])) {
    for (const output of [stdout, JSON.stringify(items)]) {
      for (let i = 0; i + 8 <= secret.length; i++) expect(output).not.toContain(secret.slice(i, i + 8))
    }
  }
})
