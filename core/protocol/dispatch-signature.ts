// The signature on a dispatch: over timestamp, method, path and body, under a key derived for this use alone.

import { equalBytes, hex } from './bytes.ts'
import { findKey, type Keyring, keyMac, type SigningKey } from './keyring.ts'
import { isFresh, parseSignature, type Verdict } from './signature-header.ts'

/** The parts of a request that are signed. */
export interface SignedRequest {
  readonly method: string
  /** Path and query exactly as they stand in the request line. */
  readonly path: string
  /** The raw body. */
  readonly body: Uint8Array
}

/**
 * The `Millrace-Signature` of a dispatch, under one key of a dispatch keyring. `now` in milliseconds.
 *
 * The body comes last and none of the other parts can hold a line break, so no two requests give the same bytes.
 */
export function signDispatch(key: SigningKey, request: SignedRequest, now: number): string {
  const t = Math.floor(now / 1000)
  return `t=${t},kid=${key.kid},v1=${hex(dispatchMac(key, request, t))}`
}

/** Checks a dispatch's `Millrace-Signature` with the keyring the function was given. `now` in milliseconds. */
export function verifyDispatch(
  dispatchKeys: Keyring,
  request: SignedRequest,
  header: string | null | undefined,
  now: number,
  toleranceSeconds?: number,
): Verdict {
  const signature = parseSignature(header ?? '')
  const key = signature?.kid === undefined ? undefined : findKey(dispatchKeys, signature.kid)
  if (signature === undefined || key === undefined) return 'invalid_signature'
  if (!equalBytes(dispatchMac(key, request, signature.t), signature.v1)) return 'invalid_signature'
  return isFresh(signature.t, now, toleranceSeconds) ? 'valid' : 'stale_timestamp'
}

const dispatchMac = (key: SigningKey, { method, path, body }: SignedRequest, t: number): Uint8Array =>
  keyMac(key)(`${t}\n${method}\n${path}\n`, body)
