// Event tokens: the published ones, that all round-trip, and that none that was altered is taken.

import { readFileSync } from 'node:fs'
import { blake3 } from '@noble/hashes/blake3.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import fc from 'fast-check'
import { eventKey, eventToken, generateKeyring, parseKeyring, readEventToken } from 'millrace/protocol'
import { describe, expect, test } from 'vitest'
import { keyring } from '../support/ingress.ts'

const vectors = JSON.parse(readFileSync(new URL('../../docs/protocol-vectors.json', import.meta.url), 'utf8'))
const [root] = keyring.keys
const utf8 = (text: string) => new TextEncoder().encode(text)
const jobId = fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }).map(String)
const eventName = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
  .filter(name => name.isWellFormed() && !name.includes('\0') && [...name].length <= 200)
const tokenOf = (id: string, name: string) => eventToken(eventKey(root, id), id, name)

describe('the published vectors', () => {
  test('follow from docs/protocol.md and BLAKE3 alone', () => {
    for (const { keyring: text, jobId: id, name, action, eventKey: key, token } of vectors.eventTokens) {
      const signer = parseKeyring(text).keys.find(({ kid }) => key.startsWith(`${kid}:`)) ?? expect.fail('no such key')
      const secret = blake3(utf8(id), { key: blake3(signer.secret, { context: utf8('millrace v1 event tokens') }) })
      const mac = bytesToHex(blake3(utf8(`${action}\n${name}`), { key: secret }))
      expect(key).toBe(`${signer.kid}:${bytesToHex(secret)}`)
      expect(token).toBe(`${signer.kid}.${id}.${Buffer.from(name).toString('base64url')}.${mac}`)
      expect(eventToken(key, id, name, action)).toBe(token)
      expect(readEventToken(parseKeyring(text), token, action)).toEqual({ jobId: id, name })
    }
  })

  test.each(vectors.eventTokensRefused as { keyring: string; token: string }[])(
    'refused: "$token"',
    ({ keyring: text, token }) => expect(readEventToken(parseKeyring(text), token)).toBeUndefined(),
  )
})

test('every token says what it was made for', () => {
  fc.assert(
    fc.property(jobId, eventName, (id, name) => {
      expect(readEventToken(keyring, tokenOf(id, name))).toEqual({ jobId: id, name })
    }),
  )
})

test('no token that was altered is taken', () => {
  const characters = fc.constantFrom(...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=%/ ')
  fc.assert(
    fc.property(
      jobId,
      eventName,
      fc.nat(),
      characters,
      fc.constantFrom('set', 'insert', 'remove'),
      (id, name, n, char, how) => {
        const token = tokenOf(id, name)
        const at = n % token.length
        const altered =
          token.slice(0, at) + (how === 'remove' ? '' : char) + token.slice(how === 'insert' ? at : at + 1)
        fc.pre(altered !== token)
        expect(readEventToken(keyring, altered)).toBeUndefined()
      },
    ),
    { numRuns: 3_000 },
  )
})

test('one job, name or keyring does not open another', () => {
  fc.assert(
    fc.property(jobId, jobId, eventName, eventName, (id, other, name, otherName) => {
      fc.pre(id !== other && name !== otherName)
      const [kid, , encoded, mac] = tokenOf(id, name).split('.')
      const [, , otherEncoded] = tokenOf(id, otherName).split('.')
      expect(readEventToken(keyring, `${kid}.${other}.${encoded}.${mac}`)).toBeUndefined()
      expect(readEventToken(keyring, `${kid}.${id}.${otherEncoded}.${mac}`)).toBeUndefined()
      expect(readEventToken(generateKeyring(kid), tokenOf(id, name))).toBeUndefined()
    }),
  )
})

test.each([
  ['a name that is none', () => tokenOf('1', ''), 'invalid_event'],
  ['a name that is too long', () => tokenOf('1', 'x'.repeat(201)), 'invalid_event'],
  ['a name with NUL', () => tokenOf('1', 'a\0'), 'invalid_event'],
  ['an id that is none', () => eventToken(eventKey(root, '1'), '01', 'a'), 'invalid_event'],
  ['a key that is none', () => eventToken('k1:abc', '1', 'a'), 'invalid_keyring'],
])('no token is made for %s', (_, make, code) => expect(make).toThrow(expect.objectContaining({ code })))

test('the longest name fits', () => {
  const name = '😀'.repeat(200)
  expect(readEventToken(keyring, tokenOf('9223372036854775807', name))).toMatchObject({ name })
})
