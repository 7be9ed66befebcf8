// Secrets at rest: sealed so that only the keyring of this use opens them, and only under their own name.

import { createDecipheriv } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { deriveSealingKeyring, formatKeyring, parseKeyring, seal, unseal } from '../../core/protocol.ts'

const vectors = JSON.parse(readFileSync(new URL('../../docs/protocol-vectors.json', import.meta.url), 'utf8'))
const root = parseKeyring(`new:${'07'.repeat(32)},old:${'08'.repeat(32)}`)
const keys = deriveSealingKeyring(root)
const secret = 'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8='
const unreadable = expect.objectContaining({ code: 'invalid_configuration' })

test('the published vectors', async () => {
  for (const { keyring, sealing, name, secret, sealed } of vectors.sealing) {
    const derived = deriveSealingKeyring(parseKeyring(keyring))
    expect(formatKeyring(derived)).toBe(sealing)
    expect(await seal(derived, name, secret)).toBe(sealed)
    expect(await unseal(derived, name, sealed)).toBe(secret)
  }
})

test('it is plain AES-256-GCM, which anything else opens', () => {
  for (const { sealing, name, secret, sealed } of vectors.sealing) {
    const bytes = Buffer.from(sealed.split(':')[2], 'base64url')
    const decipher = createDecipheriv('aes-256-gcm', parseKeyring(sealing).keys[0].secret, bytes.subarray(0, 12))
    decipher.setAAD(Buffer.from(name)).setAuthTag(bytes.subarray(-16))
    const opened = Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()])
    expect(opened.toString()).toBe(secret)
  }
})

test('whatever is sealed opens, the same way twice, and differs from name to name and from secret to secret', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), async (name, text) => {
      const sealed = await seal(keys, name, text)
      expect(sealed).toMatch(/^sealed:new:[A-Za-z0-9_-]+$/)
      expect(await unseal(keys, name, sealed)).toBe(text)
      expect(await seal(keys, name, text)).toBe(sealed)
      expect(await seal(keys, `${name}.`, text)).not.toBe(sealed)
      expect(await seal(keys, name, `${text}.`)).not.toBe(sealed)
    }),
    { numRuns: 50 },
  )
})

test('a plain secret is itself', async () => {
  expect(await unseal(keys, 'shop', secret)).toBe(secret)
})

describe('rotation', () => {
  const older = deriveSealingKeyring(parseKeyring(`old:${'08'.repeat(32)}`))

  test('opens what an older key sealed, for as long as it is in the keyring', async () => {
    const sealed = await seal(older, 'shop', secret)
    expect(await unseal(keys, 'shop', sealed)).toBe(secret)
    const newer = deriveSealingKeyring(parseKeyring(`new:${'07'.repeat(32)}`))
    await expect(unseal(newer, 'shop', sealed)).rejects.toEqual(unreadable)
  })
})

describe('nothing opens', () => {
  test.each([
    ['under another name', 'other', (sealed: string) => sealed],
    ['after a change', 'shop', (sealed: string) => `${sealed.slice(0, -2)}AA`],
    ['cut off', 'shop', (sealed: string) => sealed.slice(0, 20)],
    ['empty', 'shop', () => 'sealed:new:'],
    ['of another form', 'shop', () => 'sealed:new:***'],
  ])('%s', async (_, name, change) => {
    await expect(unseal(keys, name, change(await seal(keys, 'shop', secret)))).rejects.toEqual(unreadable)
  })

  test('with the keys of other uses', async () => {
    await expect(unseal(root, 'shop', await seal(keys, 'shop', secret))).rejects.toEqual(unreadable)
  })
})
