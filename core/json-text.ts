// From a value to JSON text that says exactly what the value said, or an error: nothing is changed or dropped silently.

import { type ErrorCode, MillraceError } from './errors.ts'

type Path = readonly PropertyKey[]

/**
 * The JSON text of `value`. Properties that are `undefined` are left out, as the type `Json` allows; everything else
 * that `JSON.stringify` would alter (`NaN`, `Date`, class instances, holes) or that jsonb refuses (NUL, half a
 * surrogate pair) is an error that names the place.
 *
 * @throws {MillraceError} `code`
 */
export function jsonText(value: unknown, code: ErrorCode, what: string): string {
  const problem = problemIn(value, [], [])
  if (problem !== undefined) {
    throw new MillraceError(code, `${what}: ${problem}`, { hint: 'Pass plain JSON values, e.g. date.toISOString()' })
  }
  return JSON.stringify(value)
}

/** `items[0].sku`, or `(top level)` for the value itself. */
export const pathText = (path: Path): string =>
  path.reduce<string>(
    (text, step) => (typeof step === 'number' ? `${text}[${step}]` : `${text}${text && '.'}${String(step)}`),
    '',
  ) || '(top level)'

function problemIn(value: unknown, path: Path, ancestors: readonly object[]): string | undefined {
  const reason = reasonAgainst(value, ancestors)
  if (reason !== undefined) return `${pathText(path)} ${reason}`
  if (typeof value !== 'object' || value === null) return undefined
  return problemInside(value, path, [...ancestors, value])
}

function problemInside(value: object, path: Path, ancestors: readonly object[]): string | undefined {
  const entries: Iterable<[PropertyKey, unknown]> = Array.isArray(value) ? value.entries() : Object.entries(value)
  for (const [key, inner] of entries) {
    if (inner === undefined && !Array.isArray(value)) continue
    const problem = problemIn(inner, [...path, key], ancestors) ?? problemInKey(key, path)
    if (problem !== undefined) return problem
  }
  return undefined
}

function problemInKey(key: PropertyKey, path: Path): string | undefined {
  const reason = typeof key === 'string' ? reasonAgainstText(key) : undefined
  return reason && `${pathText(path)} has a key that ${reason}`
}

function reasonAgainst(value: unknown, ancestors: readonly object[]): string | undefined {
  if (value === null || typeof value === 'boolean') return undefined
  if (typeof value === 'string') return reasonAgainstText(value)
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : `is ${value}, which JSON cannot hold`
  if (typeof value !== 'object') return `is ${article(typeof value)}, which JSON cannot hold`
  if (ancestors.includes(value)) return 'refers back to what contains it'
  return Array.isArray(value) || isPlain(value) ? undefined : `is a ${value.constructor?.name}, not a plain object`
}

function reasonAgainstText(text: string): string | undefined {
  if (text.includes('\0')) return 'contains a NUL character, which jsonb cannot hold'
  return text.isWellFormed() ? undefined : 'contains half a surrogate pair, which jsonb cannot hold'
}

const article = (type: string): string => (type === 'undefined' ? type : `a ${type}`)

/** Of this or any other realm: its prototype is nobody's child. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}
