// A unique key made of what a job is: Awa's BLAKE3 over kind, queue, arguments and period.

import { blake3 } from '@noble/hashes/blake3.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import { MillraceError } from './errors.ts'
import { jsonText } from './json-text.ts'
import type { Kind } from './kind.ts'

/** What a key is made of; what is left out is no part of it. */
export interface UniqueKeyParts {
  readonly kind: Kind | string
  readonly queue?: string | undefined
  /** JSON; the order of keys in objects does not matter. */
  readonly args?: unknown
  /** The number of a period, e.g. `Math.floor(Date.now() / 1000 / 3600)` for one key per hour. */
  readonly period?: number | bigint | undefined
}

const SEPARATOR = new Uint8Array(1)

/**
 * The key that `unique` gives to a job, as 32 hex digits: the first 16 bytes of
 * `BLAKE3(kind ‖ [00 queue] ‖ [00 canonical JSON of args] ‖ [00 period as i64, little-endian])`. The same as Awa's.
 *
 * @throws {MillraceError} `invalid_args` when they are not JSON, `invalid_unique` when the period is no 64-bit integer
 * @example
 * uniqueKey({ kind: 'send_email', args: { to: 'alice@example.com', subject: 'Welcome' } })
 */
export function uniqueKey({ kind, queue, args, period }: UniqueKeyParts): string {
  const hash = blake3.create().update(utf8ToBytes(typeof kind === 'string' ? kind : kind.name))
  if (queue !== undefined) hash.update(SEPARATOR).update(utf8ToBytes(queue))
  if (args !== undefined) hash.update(SEPARATOR).update(utf8ToBytes(canonicalJson(args)))
  if (period !== undefined) hash.update(SEPARATOR).update(int64(period))
  return bytesToHex(hash.digest().subarray(0, 16))
}

/** JSON text without spaces and with the keys of objects in the order of their UTF-8 bytes. */
export function canonicalJson(value: unknown): string {
  return sortedText(JSON.parse(jsonText(value, 'invalid_args', 'Arguments of a unique key')))
}

function sortedText(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(sortedText).join(',')}]`
  const entries = Object.entries(value).sort(([a], [b]) => byCodePoint(a, b))
  return `{${entries.map(([key, inner]) => `${JSON.stringify(key)}:${sortedText(inner)}`).join(',')}}`
}

/** UTF-8 sorts by code point; JavaScript's own order is that of UTF-16, which has U+10000 before U+FFFF. */
function byCodePoint(a: string, b: string): number {
  const [left, right] = [Array.from(a), Array.from(b)]
  const at = left.findIndex((char, n) => char !== right[n])
  if (at === -1) return left.length - right.length
  return (left[at]?.codePointAt(0) ?? -1) - (right[at]?.codePointAt(0) ?? -1)
}

function int64(value: number | bigint): Uint8Array {
  const whole = typeof value === 'bigint' || Number.isSafeInteger(value) ? BigInt(value) : undefined
  if (whole === undefined || BigInt.asIntN(64, whole) !== whole) {
    throw new MillraceError('invalid_unique', `Period ${value} is not a 64-bit integer`)
  }
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigInt64(0, whole, true)
  return bytes
}
