// Checks a value against a schema: the first thing that is wrong with it, in words for whoever sent it.

import type { JsonSchema } from './schema.ts'

export interface Fault {
  /** What is wrong, with the place: `body.priority must be at most 4`. */
  readonly message: string
  /** The nearest `x-code` above it. */
  readonly code: string | undefined
}

/** Undefined: the value is as the schema says. */
export function faultIn(value: unknown, schema: JsonSchema, path: string): Fault | undefined {
  const fault = schema.anyOf ? faultInAny(value, schema.anyOf, path) : faultInOne(value, schema, path)
  return fault && { ...fault, code: fault.code ?? schema['x-code'] }
}

/** Told of the alternative that the value seems to mean: the first whose required properties it has, or whose type. */
function faultInAny(value: unknown, schemas: readonly JsonSchema[], path: string): Fault | undefined {
  if (schemas.some(schema => faultIn(value, schema, path) === undefined)) return undefined
  const fitting = schemas.filter(schema => isOfType(value, schema))
  const meant = fitting.find(({ required }) => required?.every(name => Object.hasOwn(value as object, name)))
  return faultIn(value, meant ?? fitting[0] ?? (schemas[0] as JsonSchema), path)
}

function faultInOne(value: unknown, schema: JsonSchema, path: string): Fault | undefined {
  const wrong = (message: string): Fault => ({ message: `${path} ${message}`, code: undefined })
  if (!isOfType(value, schema)) return wrong(`must be ${typeNames(schema)}`)
  if (schema.enum && !schema.enum.includes(value as string)) return wrong(`must be one of ${schema.enum.join(', ')}`)
  if (typeof value === 'string') return prefixed(textFault(value, schema), wrong)
  if (typeof value === 'number') return prefixed(numberFault(value, schema), wrong)
  if (Array.isArray(value)) return prefixed(lengthFault(value, schema), wrong) ?? faultInItems(value, schema, path)
  return typeof value === 'object' && value !== null ? faultInObject(value, schema, path) : undefined
}

const prefixed = (message: string | undefined, wrong: (message: string) => Fault): Fault | undefined =>
  message === undefined ? undefined : wrong(message)

/** Characters are code points, as Postgres and JSON Schema count them. */
function textFault(value: string, schema: JsonSchema): string | undefined {
  const { minLength = 0, maxLength = Number.POSITIVE_INFINITY, pattern, format } = schema
  if (value.includes('\0')) return 'contains a NUL character'
  if (value.length < minLength)
    return minLength === 1 ? 'must not be empty' : `must have ${minLength} characters or more`
  if (value.length > maxLength && [...value].length > maxLength) return `must have ${maxLength} characters at most`
  if (pattern && !new RegExp(pattern, 'u').test(value)) return `must match ${pattern}`
  return format && !isInstant(value) ? 'must be a time, such as 2026-01-31T12:00:00Z' : undefined
}

function numberFault(value: number, { minimum, maximum }: JsonSchema): string | undefined {
  if (minimum !== undefined && value < minimum) return `must be at least ${minimum}`
  return maximum !== undefined && value > maximum ? `must be at most ${maximum}` : undefined
}

function lengthFault({ length }: readonly unknown[], { minItems = 0, maxItems }: JsonSchema): string | undefined {
  if (length < minItems) return 'must not be empty'
  return maxItems !== undefined && length > maxItems ? `must have ${maxItems} items at most` : undefined
}

function faultInItems(value: readonly unknown[], { items }: JsonSchema, path: string): Fault | undefined {
  if (items === undefined) return undefined
  for (const [n, item] of value.entries()) {
    const fault = faultIn(item, items, `${path}[${n}]`)
    if (fault) return fault
  }
  return undefined
}

function faultInObject(value: object, schema: JsonSchema, path: string): Fault | undefined {
  const { properties = {}, required = [], additionalProperties } = schema
  const missing = required.find(name => !Object.hasOwn(value, name))
  if (missing !== undefined) {
    return { message: `${path}.${missing} is missing`, code: properties[missing]?.['x-code'] }
  }
  for (const [name, inner] of Object.entries(value)) {
    const known = Object.hasOwn(properties, name) ? properties[name] : undefined
    if (known === undefined && additionalProperties === false) {
      const names = Object.keys(properties).join(', ') || 'nothing'
      return { message: `${path}.${name.slice(0, 100)} is not known here; there is ${names}`, code: undefined }
    }
    const fault = known && faultIn(inner, known, `${path}.${name}`)
    if (fault) return fault
  }
  return undefined
}

const isOfType = (value: unknown, { type }: JsonSchema): boolean =>
  type === undefined || [type].flat().some(name => isA(name, value))

function isA(type: string, value: unknown): boolean {
  if (type === 'null') return value === null
  if (type === 'array') return Array.isArray(value)
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value)
  if (type === 'integer') return Number.isSafeInteger(value)
  return typeof value === type
}

const NAMES: Readonly<Record<string, string>> = {
  ...{ string: 'a text', integer: 'a whole number', number: 'a number', boolean: 'true or false' },
  ...{ array: 'a list', object: 'an object', null: 'null' },
}

const typeNames = ({ type = [] }: JsonSchema): string =>
  [type]
    .flat()
    .map(name => NAMES[name] ?? name)
    .join(' or ')

/** RFC 3339, and a day that there is; years are those that JavaScript and Postgres agree on. */
const isInstant = (text: string): boolean =>
  /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$/.test(text) && !Number.isNaN(Date.parse(text))
