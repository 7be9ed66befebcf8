// The two ways a callback is authenticated: bound to attempt, action, time and body, or Awa's bearer header.

import { MillraceError } from '../errors.ts'
import type { CallbackAction } from '../wire.ts'
import { equalBytes, hex, macOnce, unhex32 } from './bytes.ts'
import { attemptKeyMac, keyMac, type SigningKey } from './keyring.ts'
import { isFresh, parseSignature, type Verdict } from './signature-header.ts'

/** What a bound signature covers. */
export interface SignedCallback {
  readonly action: CallbackAction
  readonly callbackId: string
  /** The raw body; empty when there is none. */
  readonly body: Uint8Array
}

/** The key, in hex, with which one attempt's function signs its callbacks. It opens nothing else. */
export const attemptKey = (root: SigningKey, callbackId: string): string => hex(attemptKeyMac(root)(callbackId))

/**
 * The bound `Millrace-Signature` of a callback. `now` in milliseconds.
 *
 * @throws {MillraceError} `invalid_signature` when the key is not 64 hex digits
 */
export function signCallback(attemptKeyHex: string, callback: SignedCallback, now: number): string {
  const key = unhex32(attemptKeyHex)
  if (key === undefined) throw new MillraceError('invalid_signature', 'An attempt key is 64 hex digits')
  const t = Math.floor(now / 1000)
  return `t=${t},v1=${hex(callbackMac(key, callback, t))}`
}

/** Checks a bound signature against the root key that the callback id names. `now` in milliseconds. */
export function verifyCallback(
  root: SigningKey,
  callback: SignedCallback,
  header: string,
  now: number,
  toleranceSeconds?: number,
): Verdict {
  const signature = parseSignature(header)
  if (signature === undefined) return 'invalid_signature'
  const key = attemptKeyMac(root)(callback.callbackId)
  if (!equalBytes(callbackMac(key, callback, signature.t), signature.v1)) return 'invalid_signature'
  return isFresh(signature.t, now, toleranceSeconds) ? 'valid' : 'stale_timestamp'
}

const callbackMac = (key: Uint8Array, { action, callbackId, body }: SignedCallback, t: number): Uint8Array =>
  macOnce(key, `${t}\n${action}\n${callbackId}\n`, body)

/** Awa's `X-Awa-Signature`: the callback id as it stands in the path, keyed with the root secret itself. */
export const signCompatible = (root: SigningKey, callbackId: string): string => hex(keyMac(root)(callbackId))

export function verifyCompatible(root: SigningKey, callbackId: string, header: string): boolean {
  const given = unhex32(header)
  return given !== undefined && equalBytes(keyMac(root)(callbackId), given)
}
