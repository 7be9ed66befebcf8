// From a callback's raw body to a JSON object that Postgres can hold.

import type { Json } from '../json.ts'
import { jsonOf } from '../json-body.ts'
import { Problem } from './problem.ts'

const invalid = (message: string, malformed = false): Problem =>
  new Problem(malformed ? 400 : 422, 'invalid_request', message)

/**
 * No body at all is `{}`.
 *
 * @throws {Problem} 400 for what is not JSON, 422 for JSON that is not an object, nests too deeply, or that jsonb refuses
 */
export function parseBody(bytes: Uint8Array): { readonly [key: string]: Json | undefined } {
  const value = bytes.length === 0 ? {} : jsonOf(bytes, invalid)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('The body is not an object')
  return value as { readonly [key: string]: Json | undefined }
}
