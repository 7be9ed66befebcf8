// Callback ids: one spelling for each attempt, and nothing else is read as one.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeCallbackId, encodeCallbackId } from '../core/protocol.ts'

const INT8_MAX = 2n ** 63n - 1n
const kids = fc.stringMatching(/^[A-Za-z0-9_-]{1,32}$/)
const refs = fc.record({
  segment: fc.bigInt(0n, INT8_MAX).map(String),
  id: fc.bigInt(1n, INT8_MAX).map(String),
  attempt: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
})

test('every attempt can be named, and the name says which it is', () => {
  fc.assert(
    fc.property(kids, refs, (kid, ref) => {
      expect(decodeCallbackId(encodeCallbackId(kid, ref))).toEqual({ kid, ref })
    }),
  )
})

test('needs no escaping in a URL', () => {
  fc.assert(
    fc.property(kids, refs, (kid, ref) => {
      const id = encodeCallbackId(kid, ref)
      expect(new URL(`http://localhost/${id}/complete`).pathname).toBe(`/${id}/complete`)
    }),
  )
})

test('whatever decodes is spelt as it would be encoded', () => {
  const near = fc.tuple(kids, fc.string(), fc.string(), fc.string()).map(parts => parts.join('.'))
  const digits = fc.stringMatching(/^k1\.[-+0-9]{1,21}\.[-+0-9]{1,21}\.[-+0-9]{1,12}$/)
  fc.assert(
    fc.property(fc.oneof(fc.string(), near, digits), text => {
      const decoded = decodeCallbackId(text)
      if (decoded !== undefined) expect(encodeCallbackId(decoded.kid, decoded.ref)).toBe(text)
    }),
  )
})

test.each([
  ['leading zeros', 'k1.00.1.1'],
  ['a sign', 'k1.0.+1.1'],
  ['a negative number', 'k1.0.-1.1'],
  ['a job 0', 'k1.0.0.1'],
  ['an attempt 0', 'k1.0.1.0'],
  ['a segment beyond int8', 'k1.9223372036854775808.1.1'],
  ['a job beyond int8', 'k1.0.9223372036854775808.1'],
  ['an attempt beyond int4', 'k1.0.1.2147483648'],
  ['more digits than int8 has', 'k1.0.10000000000000000000.1'],
  ['a key id that is too long', `${'k'.repeat(33)}.0.1.1`],
  ['no key id', '.0.1.1'],
  ['a part too many', 'k1.0.1.1.1'],
  ['a part too few', 'k1.0.1'],
  ['a line break at the end', 'k1.0.1.1\n'],
  ['digits of another script', 'k1.0.١.1'],
  ['escapes', 'k1.0.%31.1'],
  ['nothing', ''],
])('refuses %s', (_, text) => {
  expect(decodeCallbackId(text)).toBeUndefined()
})

test('refuses to name what is no attempt', () => {
  const attempt = (change: object) => () => encodeCallbackId('k1', { segment: '0', id: '1', attempt: 1, ...change })
  const refused = expect.objectContaining({ code: 'invalid_callback_id' })
  expect(attempt({ attempt: 0 })).toThrow(refused)
  expect(attempt({ attempt: 1.5 })).toThrow(refused)
  expect(attempt({ id: '9223372036854775808' })).toThrow(refused)
  expect(attempt({ segment: '-1' })).toThrow(refused)
})
