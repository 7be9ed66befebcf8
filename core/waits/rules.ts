// What a wait says about events: which of them count, and what becomes of the job.

import type { EventVerdict } from '../engine.ts'
import { MillraceError } from '../errors.ts'
import { rounded } from '../exact-json.ts'
import type { Json } from '../json.ts'
import { jsonText } from '../json-text.ts'
import type { WaitRules } from '../wire.ts'
import { expression } from './cel.ts'

const EXPRESSIONS = ['filter', 'on_fail', 'on_complete', 'transform'] as const
const ACTIONS: readonly unknown[] = ['resume', 'complete', 'fail', 'ignore']

type Body = { readonly [key: string]: Json | undefined }

/**
 * The rules in the body of a wait; undefined where it has none, and any event resumes the job.
 *
 * @throws {MillraceError} `invalid_expression`, `invalid_request`
 */
export function rulesIn(body: Body): WaitRules | undefined {
  const rules: Record<string, string> = {}
  for (const name of EXPRESSIONS) {
    const text = body[name]
    if (text === undefined) continue
    if (typeof text !== 'string') throw new MillraceError('invalid_expression', `${name}: must be a text`)
    expression(text, name === 'transform' ? 'anything' : 'bool', name)
    rules[name] = text
  }
  const { default_action: action } = body
  if (action === undefined) return Object.keys(rules).length === 0 ? undefined : rules
  if (!ACTIONS.includes(action)) {
    throw new MillraceError('invalid_request', 'default_action must be resume, complete, fail or ignore')
  }
  return { ...rules, default_action: action as NonNullable<WaitRules['default_action']> }
}

/**
 * What the rules make of an event; undefined: it is ignored. A filter that fails is false, and so are the other two
 * conditions; a transform that fails leaves the payload as it is.
 */
export function verdictOf(rules: WaitRules, payload: Json | undefined): EventVerdict | undefined {
  const { filter, on_fail, on_complete, default_action = 'resume' } = rules
  const given = rounded(payload ?? null) as Json
  if (filter !== undefined && !holds(filter, given)) return undefined
  if (on_fail !== undefined && holds(on_fail, given)) return { action: 'fail', payload: failure(given, on_fail) }
  const action = on_complete !== undefined && holds(on_complete, given) ? 'complete' : default_action
  if (action === 'ignore') return undefined
  return { action, payload: rules.transform === undefined ? payload : transformed(rules.transform, given, payload) }
}

function holds(text: string, payload: Json): boolean {
  try {
    return expression(text, 'bool', '').evaluate(payload) === true
  } catch {
    return false
  }
}

function transformed(text: string, given: Json, payload: Json | undefined): Json | undefined {
  try {
    const value = plain(expression(text, 'anything', '').evaluate(given))
    return JSON.parse(jsonText(value, 'invalid_request', 'The transformed payload')) as Json
  } catch {
    return payload
  }
}

/** What the attempt failed with: the event's own word, or the expression that found it to be a failure. */
function failure(payload: Json, on_fail: string): Json {
  const said = typeof payload === 'object' && payload !== null && 'error' in payload ? payload.error : undefined
  return typeof said === 'string' ? { error: said } : { error: `on_fail: ${on_fail}` }
}

/** CEL's values in JSON: whole numbers as numbers, times in ISO 8601. Everything else that JSON lacks is refused later. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value)
  if (value instanceof Date) return value.toISOString()
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]))
}
