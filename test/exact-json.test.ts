// Whole numbers that no double can tell go through as they came.

import { expect, test } from 'vitest'
import { exactJson, rounded } from '../core/exact-json.ts'

test.each([
  '{"id":12345678901234567890,"in":[-9223372036854775808,9007199254740993]}',
  '12345678901234567890',
  '{"__proto__":{"n":98765432109876543210},"text":"1234567890123456789"}',
])('%s comes out as it went in', text => {
  expect(JSON.stringify(exactJson(text))).toBe(text)
})

test('what doubles can tell is numbers, and fractions are doubles', () => {
  expect(exactJson('[9007199254740992, 12345678901234567000, 0.12345678901234568, 1e300, 1234567890123456]')).toEqual([
    2 ** 53,
    12345678901234567000,
    0.12345678901234568,
    1e300,
    1234567890123456,
  ])
  expect(exactJson('[1e400, "1234567890123456"]')).toEqual([Number.POSITIVE_INFINITY, '1234567890123456'])
})

test('rounded, it is what JSON.parse makes of it', () => {
  const text = '{"id":12345678901234567890,"in":[null,{"n":-9223372036854775807}],"s":"x","b":true,"f":0.5}'
  expect(rounded(exactJson(text))).toEqual(JSON.parse(text))
})
