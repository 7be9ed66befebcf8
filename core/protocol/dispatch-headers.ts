// Every header a dispatcher sets on the request that hands a job to its function.

import type { AttemptRef } from '../engine.ts'
import { HEADER } from '../wire.ts'
import { encodeCallbackId } from './callback-id.ts'
import { attemptKey, signCompatible } from './callback-signature.ts'
import { type SignedRequest, signDispatch } from './dispatch-signature.ts'
import { eventKey } from './event-token.ts'
import { dispatchKey, type Keyring } from './keyring.ts'

/** A dispatch about to be sent. */
export interface DispatchToSign extends SignedRequest {
  /** The root keyring. */
  readonly keyring: Keyring
  readonly ref: AttemptRef
  /** Callback mode only: the id that stands in the body, made by {@link callbackIdOf} with the same keyring. */
  readonly callbackId?: string | undefined
  /** ISO 8601. */
  readonly deadline: string
  /** Milliseconds. */
  readonly now: number
  /** Sends the job's event key; false unless given. */
  readonly takesEvents?: boolean | undefined
  /** Also sends Awa's bearer header in callback mode: true unless given. */
  readonly compatible?: boolean | undefined
}

/** The callback id of an attempt under the key that signs. */
export const callbackIdOf = (keyring: Keyring, ref: AttemptRef): string => encodeCallbackId(keyring.keys[0].kid, ref)

/** The same for all attempts of a job, so that a function can tell a repetition. */
export const idempotencyKeyOf = (jobId: string): string => `millrace-${jobId}`

/** Signature, attempt, deadline and idempotency key; in callback mode also what the function needs to call back. */
export function dispatchHeaders(dispatch: DispatchToSign): Record<string, string> {
  const root = dispatch.keyring.keys[0]
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    [HEADER.signature]: signDispatch(dispatchKey(root), dispatch, dispatch.now),
    [HEADER.idempotencyKey]: idempotencyKeyOf(dispatch.ref.id),
    [HEADER.attempt]: String(dispatch.ref.attempt),
    [HEADER.deadline]: dispatch.deadline,
  }
  if (dispatch.takesEvents) headers[HEADER.eventKey] = eventKey(root, dispatch.ref.id)
  if (dispatch.callbackId !== undefined) {
    headers[HEADER.attemptKey] = attemptKey(root, dispatch.callbackId)
    if (dispatch.compatible !== false) {
      headers[HEADER.compatibleSignature] = signCompatible(root, dispatch.callbackId)
    }
  }
  return headers
}
