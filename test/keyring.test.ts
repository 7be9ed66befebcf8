// Keyrings: how they are written, and that rotation is two deploys.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  activateKey,
  addKey,
  callbackIdOf,
  deriveDispatchKeyring,
  formatKeyring,
  generateKeyring,
  type Keyring,
  parseKeyring,
  signCompatible,
  verifyCompatible,
} from '../core/protocol.ts'

const secretText = fc.stringMatching(/^[0-9a-f]{64}$/)
const rings = fc.uniqueArray(fc.tuple(fc.stringMatching(/^[A-Za-z0-9_-]{1,32}$/), secretText), {
  minLength: 1,
  maxLength: 5,
  selector: ([kid]) => kid,
})

test('what is written is what was read', () => {
  fc.assert(
    fc.property(rings, entries => {
      const text = entries.map(entry => entry.join(':')).join(',')
      expect(formatKeyring(parseKeyring(text))).toBe(text)
      expect(parseKeyring(text).keys.map(key => key.kid)).toEqual(entries.map(([kid]) => kid))
    }),
  )
})

test('a bare secret, as Awa has it, is a keyring of one key named k0', () => {
  const keyring = parseKeyring(` ${'AB'.repeat(32)}\n`)
  expect(formatKeyring(keyring)).toBe(`k0:${'ab'.repeat(32)}`)
})

test.each([
  ['nothing', ''],
  ['an empty entry', `a:${'00'.repeat(32)},`],
  ['a secret that is too short', `a:${'00'.repeat(31)}`],
  ['a secret that is no hex', `a:${'zz'.repeat(32)}`],
  ['an id with a dot', `a.b:${'00'.repeat(32)}`],
  ['an id that is too long', `${'a'.repeat(33)}:${'00'.repeat(32)}`],
  ['no id', `:${'00'.repeat(32)}`],
  ['an id twice', `a:${'00'.repeat(32)},a:${'01'.repeat(32)}`],
  ['id and secret the wrong way round', `${'5e'.repeat(32)}:a`],
])('refuses %s', (_, text) => {
  expect(() => parseKeyring(text)).toThrow(expect.objectContaining({ code: 'invalid_keyring' }))
})

test('an error never repeats any part of a secret', () => {
  fc.assert(
    fc.property(secretText, secret => {
      for (const text of [`${secret}:a`, `a:${secret}0`, `a:b:${secret}`, `${secret}${secret}`]) {
        const message = messageOf(() => parseKeyring(text))
        for (let i = 0; i + 8 <= secret.length; i += 8) expect(message).not.toContain(secret.slice(i, i + 8))
      }
    }),
  )
})

test('new keys are random and named as asked', () => {
  expect(formatKeyring(generateKeyring('2026-01'))).toMatch(/^2026-01:[0-9a-f]{64}$/)
  expect(formatKeyring(generateKeyring())).not.toBe(formatKeyring(generateKeyring()))
  expect(() => generateKeyring('a b')).toThrow(expect.objectContaining({ code: 'invalid_keyring' }))
})

test('functions get other keys than the root, under the same ids', () => {
  fc.assert(
    fc.property(rings, entries => {
      const root = parseKeyring(entries.map(entry => entry.join(':')).join(','))
      const derived = formatKeyring(deriveDispatchKeyring(root))
      expect(parseKeyring(derived).keys.map(key => key.kid)).toEqual(root.keys.map(key => key.kid))
      for (const [, secret] of entries) expect(derived).not.toContain(secret)
    }),
  )
})

test('rotation: whoever has the keyring of one deploy verifies what the one before or after it signs', () => {
  fc.assert(
    fc.property(rings, entries => {
      const before = parseKeyring(entries.map(entry => entry.join(':')).join(','))
      const first = addKey(before, 'the-new-one')
      const second = activateKey(first)
      const steps = [before, first, second]
      const ref = { segment: '0', id: '1', attempt: 1 }
      steps.slice(1).forEach((after, n) => {
        for (const [signer, verifier] of [
          [steps[n] as Keyring, after],
          [after, steps[n] as Keyring],
        ] as const) {
          const id = callbackIdOf(signer, ref)
          const bearer = signCompatible(signer.keys[0], id)
          const key = verifier.keys.find(({ kid }) => id.startsWith(`${kid}.`))
          expect(key && verifyCompatible(key, id, bearer)).toBe(true)
        }
      })
      expect(second.keys).toEqual([first.keys.at(-1), before.keys[0]])
    }),
  )
})

test('rotation refuses an id that is there, and to go back to an older key of the same making', () => {
  const [older, newer] = [`k20260131:${'01'.repeat(32)}`, `k20260131b:${'02'.repeat(32)}`]
  const refused = expect.objectContaining({ code: 'invalid_keyring' })
  expect(() => addKey(parseKeyring(older), 'k20260131')).toThrow(refused)
  expect(() => activateKey(parseKeyring(older))).toThrow(refused)
  expect(() => activateKey(parseKeyring(`${newer},${older}`))).toThrow(refused)
  expect(activateKey(parseKeyring(`${older},${newer}`)).keys[0].kid).toBe('k20260131b')
})

function messageOf(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('nothing was thrown')
}
