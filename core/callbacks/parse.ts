// From a callback's raw body to a JSON object that Postgres can hold.

import { MillraceError } from '../errors.ts'
import type { Json } from '../json.ts'
import { jsonText } from '../json-text.ts'
import { MAX_DEPTH, nestsDeeper } from '../nesting.ts'
import { Problem } from './problem.ts'

const invalid = (message: string, status: 400 | 422 = 422): Problem => new Problem(status, 'invalid_request', message)

/**
 * No body at all is `{}`.
 *
 * @throws {Problem} 400 for what is not JSON, 422 for JSON that is not an object, nests too deeply, or that jsonb refuses
 */
export function parseBody(bytes: Uint8Array): { readonly [key: string]: Json | undefined } {
  if (bytes.length === 0) return {}
  const text = decode(bytes)
  if (nestsDeeper(text, MAX_DEPTH)) throw invalid(`The body nests deeper than ${MAX_DEPTH} levels`)
  const value = parse(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('The body is not an object')
  // JSON can say what jsonb cannot hold (NUL, half a surrogate pair) or a number cannot (1e400), but only like so.
  if (/\\u|[0-9][eE]/.test(text)) checkHoldable(value)
  return value as { readonly [key: string]: Json | undefined }
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw invalid('The body is not UTF-8', 400)
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw invalid('The body is not JSON', 400)
  }
}

function checkHoldable(value: object): void {
  try {
    jsonText(value, 'invalid_request', 'The body')
  } catch (error) {
    throw invalid(error instanceof MillraceError ? error.message : 'The body cannot be stored')
  }
}
