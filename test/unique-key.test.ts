// Unique keys: Awa's five vectors, and what may and may not change a key.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type UniqueKeyParts, uniqueKey } from '../core/index.ts'
import { canonicalJson } from '../core/unique-key.ts'

describe('the key of', () => {
  it.each([
    [{}, 'bee8bfbcd9d48e51f79059a523039018'],
    [{ queue: 'default' }, '5f8918febb66adef42a3b4da3a9465c8'],
    [{ args: { to: 'alice@example.com', subject: 'Welcome' } }, '8f28df85757f04fa1defaa2916468a6a'],
    [{ period: 1000 }, 'd3676a6ea8e39ca25f82b37fc977060d'],
    [{ queue: 'email', args: { b: 1, a: [true, null, 'é'] }, period: 42 }, '6dcb7525bac1d93e4af934d53157edc4'],
  ] satisfies [Partial<UniqueKeyParts>, string][])('send_email with %j is %s, as in Awa', (parts, key) => {
    expect(uniqueKey({ kind: 'send_email', ...parts })).toBe(key)
  })

  it('a period is that of its 64-bit number, negative ones included', () => {
    expect(uniqueKey({ kind: 'k', period: 42n })).toBe(uniqueKey({ kind: 'k', period: 42 }))
    expect(uniqueKey({ kind: 'k', period: -1 })).not.toBe(uniqueKey({ kind: 'k', period: 1 }))
  })

  it.each([1.5, Number.NaN, 2 ** 53, 2n ** 63n])('period %s is refused', period => {
    expect(() => uniqueKey({ kind: 'k', period })).toThrow(expect.objectContaining({ code: 'invalid_unique' }))
  })

  it('what is not JSON is refused', () => {
    expect(() => uniqueKey({ kind: 'k', args: { at: new Date() } })).toThrow(
      expect.objectContaining({ code: 'invalid_args' }),
    )
  })
})

describe('canonical JSON', () => {
  it('sorts keys by their UTF-8 bytes, at every depth, and adds no space', () => {
    expect(canonicalJson({ b: [{ z: 1, y: 2 }], a: null, ä: 1, 10: 1, 9: 1 })).toBe(
      '{"10":1,"9":1,"a":null,"b":[{"y":2,"z":1}],"ä":1}',
    )
    // UTF-16 would have the second one first.
    expect(canonicalJson({ '\u{10000}': 1, '\uffff': 2 })).toBe('{"\uffff":2,"\u{10000}":1}')
    expect(canonicalJson({ ab: 1, a: 2 })).toBe('{"a":2,"ab":1}')
  })

  it('leaves out what is undefined', () => {
    expect(canonicalJson({ a: 1, b: undefined })).toBe('{"a":1}')
  })

  const json = fc.jsonValue({ stringUnit: 'binary' })

  it('says the same as the value did, whatever the order of its keys', () => {
    fc.assert(
      fc.property(wellFormed(json), value => {
        const text = canonicalJson(value)
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)))
        expect(canonicalJson(reversed(value))).toBe(text)
        expect(canonicalJson(JSON.parse(text))).toBe(text)
      }),
    )
  })

  it('has the keys of every object in the order of their bytes', () => {
    const keys = fc.uniqueArray(fc.string({ unit: 'binary' }).filter(storable), { minLength: 2, maxLength: 8 })
    fc.assert(
      fc.property(keys, names => {
        const text = canonicalJson(Object.fromEntries(names.map(name => [name, 0])))
        const sorted = names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
        expect(text).toBe(`{${sorted.map(name => `${JSON.stringify(name)}:0`).join(',')}}`)
      }),
    )
  })

  it('differs when the value differs, and the key with it', () => {
    fc.assert(
      fc.property(wellFormed(json), wellFormed(json), (one, other) => {
        const same = canonicalJson(one) === canonicalJson(other)
        expect(uniqueKey({ kind: 'k', args: one }) === uniqueKey({ kind: 'k', args: other })).toBe(same)
      }),
    )
  })
})

const storable = (text: string) => text.isWellFormed() && !text.includes('\0') && text !== '__proto__'
const wellFormed = <T>(values: fc.Arbitrary<T>) => values.filter(value => everyText(value, storable))

function everyText(value: unknown, test: (text: string) => boolean): boolean {
  if (typeof value === 'string') return test(value)
  if (typeof value !== 'object' || value === null) return true
  return Object.entries(value).every(([key, inner]) => test(key) && everyText(inner, test))
}

function reversed(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(reversed)
  const entries = Object.entries(value).map(([key, inner]) => [key, reversed(inner)])
  return Object.fromEntries(entries.reverse())
}
