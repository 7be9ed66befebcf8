// Callback ids: tokens that name key, segment, job and attempt, so that a callback needs no look-up.

import type { AttemptRef } from '../engine.ts'
import { MillraceError } from '../errors.ts'

/** What a callback id says. */
export interface CallbackId {
  /** The key of the keyring under which its callbacks are signed. */
  readonly kid: string
  readonly ref: AttemptRef
}

const INT8_MAX = '9223372036854775807'
const INT4_MAX = 2147483647
const FORM = /^([A-Za-z0-9_-]{1,32})\.(0|[1-9][0-9]{0,18})\.([1-9][0-9]{0,18})\.([1-9][0-9]{0,9})$/

// Of two decimals without leading zeros and of equal length, the greater one sorts later.
const fitsInt8 = (decimal: string): boolean => decimal.length < INT8_MAX.length || decimal <= INT8_MAX

/**
 * `<key id>.<segment>.<job id>.<attempt>`, made of characters that need no escaping in a URL. Treat it as opaque.
 *
 * @throws {MillraceError} `invalid_callback_id` when a part is out of range
 */
export function encodeCallbackId(kid: string, ref: AttemptRef): string {
  const id = `${kid}.${ref.segment}.${ref.id}.${ref.attempt}`
  if (decodeCallbackId(id) === undefined) {
    throw new MillraceError('invalid_callback_id', `No attempt can be named ${id}`)
  }
  return id
}

/** Reads a callback id. Every id has exactly one spelling; anything else is undefined. */
export function decodeCallbackId(text: string): CallbackId | undefined {
  const parts = FORM.exec(text)
  if (parts === null) return undefined
  const [, kid, segment, id, attempt] = parts as unknown as [string, string, string, string, string]
  if (!fitsInt8(segment) || !fitsInt8(id) || Number(attempt) > INT4_MAX) return undefined
  return { kid, ref: { segment, id, attempt: Number(attempt) } }
}
