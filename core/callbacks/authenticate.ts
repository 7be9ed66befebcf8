// Who may speak for an attempt: the holder of its bound key, or of Awa's bearer header where that is allowed.

import type { AttemptRef } from '../engine.ts'
import { type CallbackId, decodeCallbackId } from '../protocol/callback-id.ts'
import { type SignedCallback, verifyCallback, verifyCompatible } from '../protocol/callback-signature.ts'
import { findKey, type Keyring, type SigningKey } from '../protocol/keyring.ts'
import { HEADER } from '../wire.ts'
import { Problem, unauthorized } from './problem.ts'

export interface Authentication {
  /** Undefined only together with `allowUnsigned`. */
  readonly keyring: Keyring | undefined
  /** Takes Awa's `X-Awa-Signature`. */
  readonly compatible: boolean
  /** Takes this callback without any signature; one that is there must still be right. */
  readonly allowUnsigned: boolean
}

/** What can be said before the body is read. */
export interface Claim {
  readonly ref: AttemptRef
  /** Undefined when nothing is left to check. */
  readonly proof: ((body: Uint8Array, now: number) => void) | undefined
}

/** @throws {Problem} 401 for ids and headers that cannot be right, whatever the body is */
export function claimOf(
  header: (name: string) => string | undefined,
  { action, callbackId }: Omit<SignedCallback, 'body'>,
  { keyring, compatible, allowUnsigned }: Authentication,
): Claim {
  const id = decodeCallbackId(callbackId)
  if (id === undefined) throw unauthorized()
  const bound = header(HEADER.signature)
  const bearer = compatible ? header(HEADER.compatibleSignature) : undefined
  if (keyring === undefined || (allowUnsigned && bound === undefined && bearer === undefined)) {
    return { ref: unsigned(id, allowUnsigned), proof: undefined }
  }
  const key = findKey(keyring, id.kid)
  if (key === undefined) throw unauthorized()
  // Where both are sent, the stronger one decides.
  if (bound !== undefined) return { ref: id.ref, proof: boundProof(key, action, callbackId, bound) }
  if (bearer === undefined || !verifyCompatible(key, callbackId, bearer)) throw unauthorized()
  return { ref: id.ref, proof: undefined }
}

const boundProof =
  (key: SigningKey, action: SignedCallback['action'], callbackId: string, header: string) =>
  (body: Uint8Array, now: number): void => {
    const verdict = verifyCallback(key, { action, callbackId, body }, header, now)
    if (verdict === 'stale_timestamp') throw new Problem(401, 'stale_timestamp', 'The signature is too old')
    if (verdict !== 'valid') throw unauthorized()
  }

function unsigned(id: CallbackId, allowed: boolean): AttemptRef {
  if (!allowed) throw unauthorized()
  return id.ref
}
