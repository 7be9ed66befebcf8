// From an HTTP request to a dispatch that can be trusted: method, size, signature, shape.

import { MillraceError } from '../errors.ts'
import { comesFromLoopback } from '../loopback.ts'
import { verifyDispatch } from '../protocol/dispatch-signature.ts'
import type { Keyring } from '../protocol/keyring.ts'
import { readBody } from '../read-body.ts'
import { type DispatchBody, HEADER } from '../wire.ts'
import { attemptKeyFrom, type CallbackAddress } from './deliver.ts'
import { Refused } from './refused.ts'

export interface Dispatch {
  readonly body: DispatchBody
  /** In callback mode only. */
  readonly address: CallbackAddress | undefined
}

export interface ReceiveOptions {
  /** Undefined accepts unsigned dispatches from loopback. */
  readonly dispatchKeys: Keyring | undefined
  readonly maxBodyBytes: number
  /** What a proxy in front of the function has cut off the path. */
  readonly pathPrefix: string
  /** Milliseconds. */
  readonly now: number
  /** The platform's environment. */
  readonly env?: unknown
}

/** @throws {Refused} */
export async function receive(request: Request, options: ReceiveOptions): Promise<Dispatch> {
  if (request.method !== 'POST') throw new Refused('method_not_allowed', 'Dispatches come as POST')
  const bytes = await readBody(request, options.maxBodyBytes).catch(refuseBody)
  verify(request, bytes, options)
  const body = parse(bytes)
  return { body, address: addressOf(body, request.headers, options) }
}

function refuseBody(error: unknown): never {
  const tooLarge = error instanceof MillraceError && error.code === 'body_too_large'
  throw new Refused(tooLarge ? 'body_too_large' : 'invalid_request', (error as Error).message)
}

function verify(request: Request, body: Uint8Array, options: ReceiveOptions): void {
  if (options.dispatchKeys === undefined) {
    if (comesFromLoopback(request, options.env)) return
    throw new Refused('invalid_signature', 'Unsigned dispatches are taken from loopback only')
  }
  const { pathname, search } = new URL(request.url)
  const signed = { method: request.method, path: `${options.pathPrefix}${pathname}${search}`, body }
  const verdict = verifyDispatch(options.dispatchKeys, signed, request.headers.get(HEADER.signature), options.now)
  if (verdict === 'valid') return
  throw new Refused(verdict, verdict === 'stale_timestamp' ? 'The signature is too old' : 'Not signed by a known key')
}

function parse(bytes: Uint8Array): DispatchBody {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw new Refused('invalid_request', 'The body is not JSON')
  }
  if (!isDispatch(value)) throw new Refused('invalid_request', 'The body is not a dispatch')
  return value
}

/** Only what a dispatch of Awa has as well is asked for; the rest has defaults. */
function isDispatch(value: unknown): value is DispatchBody {
  if (typeof value !== 'object' || value === null) return false
  const { job_id, kind, attempt, max_attempts, callback_id, callback_url } = value as Partial<DispatchBody>
  return (
    Number.isInteger(job_id) &&
    typeof kind === 'string' &&
    Number.isInteger(attempt) &&
    Number.isInteger(max_attempts) &&
    (callback_id === undefined || typeof callback_id === 'string') &&
    (callback_url === undefined || typeof callback_url === 'string')
  )
}

/** The URL is trusted because the dispatch was verified. It says where `complete` is; the other actions are beside it. */
function addressOf(body: DispatchBody, headers: Headers, options: ReceiveOptions): CallbackAddress | undefined {
  const { callback_id: callbackId, callback_url: callbackUrl } = body
  if (callbackId === undefined && callbackUrl === undefined) return undefined
  if (callbackId === undefined || callbackUrl?.endsWith(`/${callbackId}/complete`) !== true) {
    throw new Refused('invalid_request', 'callback_url must end in /{callback_id}/complete')
  }
  const attemptKey = attemptKeyFrom(headers.get(HEADER.attemptKey))
  if (attemptKey === undefined && options.dispatchKeys !== undefined) {
    throw new Refused('invalid_request', `${HEADER.attemptKey} is missing`)
  }
  return { callbackId, url: callbackUrl.slice(0, -'/complete'.length), attemptKey }
}
