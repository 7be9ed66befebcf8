// What a wait makes of events: CEL, checked when it is registered and bounded when it runs.

import { describe, expect, test } from 'vitest'
import type { Json } from '../../core/json.ts'
import { rulesIn, verdictOf } from '../../core/waits/rules.ts'

const filtered = (filter: string, payload: Json) => verdictOf(rulesIn({ filter }) ?? {}, payload) !== undefined
const transformed = (transform: string, payload: Json) => verdictOf(rulesIn({ transform }) ?? {}, payload)?.payload

describe('registering', () => {
  test.each([
    ['payload.', 'Expected IDENTIFIER'],
    ['event.paid', 'Unknown variable: event'],
    ['payload.amount + 1 == "x"', 'no such overload'],
    ['"paid"', 'must be true or false, but is string'],
    ['[1, 2].map(x, x)', 'must be true or false, but is list'],
    ['payload.name.matches("(a+)+$")', 'there is no method matches here'],
    ['cel.bind(x, payload.a, x == x)', 'there is no method bind here'],
    ['nosuch(payload)', 'found no matching overload'],
    ['millrace_meter(true)', 'found no matching overload'],
    ['timestamp(payload.at).getHours("Europe/Paris") > 1', 'getHours takes no time zone'],
    [`payload.a == "${'x'.repeat(4_000)}"`, 'more than 4000 characters'],
    [`${'('.repeat(300)}true${')'.repeat(300)}`, ''],
    [`true${' && true'.repeat(700)}`, ''],
    [`true${' && true'.repeat(300)}`, 'too many operators in a row'],
  ])('%s is refused', (filter, message) => {
    expect(() => rulesIn({ filter })).toThrow(
      expect.objectContaining({ code: 'invalid_expression', message: expect.stringContaining(`filter: ${message}`) }),
    )
  })

  test('what is no text, and an action that is none, are refused', () => {
    expect(() => rulesIn({ on_fail: true })).toThrow(expect.objectContaining({ code: 'invalid_expression' }))
    expect(() => rulesIn({ default_action: 'retry' })).toThrow(expect.objectContaining({ code: 'invalid_request' }))
    expect(rulesIn({ name: 'payment' })).toBeUndefined()
  })
})

describe('what an expression means is what CEL says', () => {
  const payload = {
    amount: 10,
    type: 'charge',
    items: [
      { sku: 'a', n: 1 },
      { sku: 'b', n: 5 },
    ],
    none: null,
    'a-b': 1,
  }
  test.each([
    'payload.amount == 10 && payload.amount > 9 && payload.amount in [9, 10]',
    '(payload.amount - 4.0) * 2.0 == 12.0',
    'payload.amount - (4.0 - 1.0) == 7.0 && -(payload.amount) < 0',
    '1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 10 - 4 - 3 == 3 && -2 + 1 == -1',
    'payload.items.exists(i, i.sku == "a") && payload.items.all(i, i.n > 0) && !payload.items.all(i, i.n > 1)',
    'payload.items.exists_one(i, i.n > 1) && payload.items.filter(i, i.n > 1)[0].sku == "b"',
    'payload.items.map(i, i.sku + "!") == ["a!", "b!"] && payload.items.map(i, i.n > 1, i.sku).join("") == "b"',
    'has(payload.type) && !has(payload.nothing) && payload.none == null',
    'payload["type"].startsWith("cha") && payload.type.contains("arg") && payload.type.upperAscii() == "CHARGE"',
    'payload["a-b"] == 1 && "type" in payload && size(payload.items) == 2 && payload.items.size() == 2',
    'payload.type == "refund" ? false : payload.amount > 1',
    'timestamp("2026-01-02T03:04:05Z") > timestamp("2026-01-01T00:00:00Z")',
    "payload.type != 'it\\'s' && payload.type != 'a)(b' && r'\\d' == '\\\\d'",
    '(payload.items.size() > 1) == (payload.items[1].n == 5)',
    '{"a": payload.amount}["a"] == 10 && [payload.amount, 2][0] == 10',
    'int("12") == 12 && double("1.5") == 1.5 && string(payload.amount) == "10" && type(payload.type) == string',
  ])('%s', filter => expect(filtered(filter, payload)).toBe(true))

  test.each(['payload.nothing == 1', 'payload.items[7].n == 1', 'payload.amount * 2 == 20', 'payload.type > 3'])(
    'what fails is not true: %s',
    filter => expect(filtered(filter, payload)).toBe(false),
  )

  test('a payload has nothing but its own', () => {
    for (const name of ['constructor', '__proto__', 'toString', 'length']) {
      expect(filtered(`has(payload.${name})`, {})).toBe(false)
      expect(filtered(`payload.items.${name} != null`, { items: [] })).toBe(false)
    }
  })
})

describe('transforms', () => {
  test.each([
    ['payload.a', { a: [1, { b: null }] }, [1, { b: null }]],
    [
      '{"cents": int(payload.amount * 100.0), "at": timestamp("2026-01-01T00:00:00Z")}',
      { amount: 4.5 },
      { cents: 450, at: '2026-01-01T00:00:00.000Z' },
    ],
    ['size(payload)', { a: 1 }, 1],
    ['payload', 'text', 'text'],
  ])('%s', (transform, payload, expected) => expect(transformed(transform, payload as Json)).toEqual(expected))

  test.each([
    ['fails', 'payload.nothing'],
    ['comes to what JSON has not', 'payload.a / 0.0'],
    ['comes to bytes', 'b"abc"'],
    ['comes to a duration', 'duration("1h")'],
    ['comes to what jsonb cannot hold', '"\\u0000"'],
  ])('one that %s leaves the payload as it is', (_, transform) =>
    expect(transformed(transform, { a: 1.5 })).toEqual({ a: 1.5 }),
  )
})

describe('the order: filter, on_fail, on_complete, default_action', () => {
  const verdict = (body: Record<string, string>, payload: Json) => verdictOf(rulesIn(body) ?? {}, payload)
  const rules = {
    filter: 'payload.n > 0',
    on_fail: 'payload.n == 1',
    on_complete: 'payload.n <= 2',
    transform: 'payload.n',
  }

  test('each in turn', () => {
    expect(verdict(rules, { n: 0 })).toBeUndefined()
    expect(verdict(rules, { n: 1 })).toEqual({ action: 'fail', payload: { error: 'on_fail: payload.n == 1' } })
    expect(verdict(rules, { n: 1, error: 'declined' })?.payload).toEqual({ error: 'declined' })
    expect(verdict(rules, { n: 2 })).toEqual({ action: 'complete', payload: 2 })
    expect(verdict(rules, { n: 3 })).toEqual({ action: 'resume', payload: 3 })
    expect(verdict({ ...rules, default_action: 'ignore' }, { n: 3 })).toBeUndefined()
    expect(verdict({ ...rules, default_action: 'fail' }, { n: 3 })).toEqual({ action: 'fail', payload: 3 })
    expect(verdict({}, { n: 3 })).toEqual({ action: 'resume', payload: { n: 3 } })
  })
})

describe('however an event is made, it is done with soon', () => {
  const many = Array.from({ length: 50_000 }, (_, n) => n)
  const payload = { many, text: 'x'.repeat(900_000), items: many.slice(0, 5_000).map(n => ({ n, s: 'paid' })) }

  test.each([
    'payload.many.exists(a, payload.many.exists(b, a + b == -1.0))',
    'payload.many.all(a, !(-1.0 in payload.many))',
    'payload.items.all(i, !payload.text.contains("y"))',
    'payload.items.map(i, payload.text).join("") == ""',
    'payload.items.map(i, payload.text.split("")) != []',
    '[1, 2].map(a, [1, 2].map(b, payload.items.map(c, payload))) != []',
    `[payload.many, payload.many]${'.map(l, l + l)'.repeat(40)} != []`,
    `["${'x'.repeat(64)}"]${'.map(t, t + t)'.repeat(40)} != []`,
    'payload.items.all(i, payload.many == payload.many)',
  ])('%s', filter => {
    const began = performance.now()
    expect(filtered(filter, payload)).toBe(false)
    expect(performance.now() - began).toBeLessThan(5_000)
  })

  test('what is not much work is done', () => {
    expect(filtered('payload.items.all(i, i.s == "paid") && payload.text.size() > 10', payload)).toBe(true)
  })
})
