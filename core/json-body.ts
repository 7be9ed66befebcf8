// From a request's raw body to JSON that Postgres can hold.

import { MillraceError } from './errors.ts'
import { exactJson } from './exact-json.ts'
import { jsonText } from './json-text.ts'
import { MAX_DEPTH, nestsDeeper } from './nesting.ts'

/** `malformed`: it is no JSON at all. */
export type Refusal = (why: string, malformed: boolean) => Error

/**
 * Throws what `refuse` makes of a body that is not JSON, nests too deeply, or that jsonb refuses. Whole numbers are as exact as
 * in {@link exactJson}.
 */
export const jsonOf = (bytes: Uint8Array, refuse: Refusal): unknown => jsonIn(decode(bytes, refuse), refuse)

/** The same for a body that has been decoded. */
export function jsonIn(text: string, refuse: Refusal): unknown {
  if (nestsDeeper(text, MAX_DEPTH)) throw refuse(`The body nests deeper than ${MAX_DEPTH} levels`, false)
  const value = parse(text, refuse)
  // JSON can say what jsonb cannot hold (NUL, half a surrogate pair) or a number cannot (1e400), but only like so.
  if (/\\u|[0-9][eE]/.test(text)) checkHoldable(value, refuse)
  return value
}

/** A body as text; throws what `refuse` makes of one that is not UTF-8. */
export function decode(bytes: Uint8Array, refuse: Refusal): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw refuse('The body is not UTF-8', true)
  }
}

function parse(text: string, refuse: Refusal): unknown {
  try {
    return exactJson(text)
  } catch {
    throw refuse('The body is not JSON', true)
  }
}

function checkHoldable(value: unknown, refuse: Refusal): void {
  try {
    jsonText(value, 'invalid_request', 'The body')
  } catch (error) {
    throw refuse(error instanceof MillraceError ? error.message : 'The body cannot be stored', false)
  }
}
