// From an HTTP request to a dispatch that can be trusted: method, size, signature, shape.

import { comesFromLoopback } from '../loopback.ts'
import { verifyDispatch } from '../protocol/dispatch-signature.ts'
import type { Keyring } from '../protocol/keyring.ts'
import { readBody } from '../read-body.ts'
import { type DispatchBody, HEADER, INVOKE } from '../wire.ts'
import { attemptKeyFrom, type CallbackAddress } from './deliver.ts'
import { consumed, refuseBody } from './raw-body.ts'
import { Refused } from './refused.ts'

/** Of a body that is read here. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024

export type HeaderSource = Headers | { readonly [name: string]: string | readonly string[] | undefined }

/** A request's parts, from whatever server. */
export interface Message {
  readonly method: string
  /** Path and query exactly as they stand in the request line. Of an invocation of Lambda (`INVOKE`): the function's name. */
  readonly path: string
  /** By names in lower case, where it is a plain object. */
  readonly headers: HeaderSource
  /** The raw bytes. */
  readonly body: Uint8Array
}

export interface Dispatch {
  readonly body: DispatchBody
  /** In callback mode only. */
  readonly address: CallbackAddress | undefined
  /** What the tokens of the job's events are made with, where the dispatcher knows its ingress. */
  readonly eventKey?: string | undefined
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
  /** Lambda brought it, by whoever may invoke the function. */
  readonly isInvocation?: boolean | undefined
}

/** @throws {Refused} */
export async function receive(request: Request, options: ReceiveOptions): Promise<Dispatch> {
  const { method, headers } = request
  refuseMethod(method, options.isInvocation)
  if (request.bodyUsed) throw consumed('Hand the receiver a request whose body is unread')
  const body = await readBody(request, options.maxBodyBytes).catch(refuseBody)
  if (options.dispatchKeys === undefined && !comesFromLoopback(request, options.env)) {
    throw new Refused('invalid_signature', 'Unsigned dispatches are taken from loopback only')
  }
  const { pathname, search } = new URL(request.url)
  // No proxy stands before an invocation.
  const path = method === INVOKE ? pathname.slice(1) : `${options.pathPrefix}${pathname}${search}`
  return dispatchIn({ method, path, headers, body }, options.dispatchKeys, options.now)
}

/**
 * The dispatch in a message; without keys, whoever sent it. `now` in milliseconds.
 *
 * @throws {Refused}
 */
export function dispatchIn(message: Message, keys: Keyring | undefined, now: number): Dispatch {
  refuseEncoding(message.headers)
  if (keys !== undefined) verify(message, keys, now)
  const value = jsonIn(message.body)
  if (!isDispatch(value)) throw new Refused('invalid_request', 'The body is not a dispatch')
  const address = addressOf(value, headerIn(message.headers, HEADER.attemptKey), keys !== undefined)
  return { body: value, address, eventKey: headerIn(message.headers, HEADER.eventKey) ?? undefined }
}

/** `INVOKE` is for what Lambda itself has brought: nobody is to send it over HTTP, where an event could be replayed. */
export function refuseMethod(method: string, isInvocation = false): void {
  if (method !== 'POST' && !(method === INVOKE && isInvocation))
    throw new Refused('method_not_allowed', 'Only POST is taken')
}

/** Signatures are over the bytes as they were sent, and nobody sends them compressed. */
export function refuseEncoding(headers: HeaderSource): void {
  const encoding = headerIn(headers, 'content-encoding') ?? 'identity'
  if (encoding !== 'identity') throw new Refused('unsupported_encoding', `Bodies are not taken as ${encoding}`)
}

/** Several of one name are one list, as a server of Web requests has it. */
export function headerIn(headers: HeaderSource, name: string): string | null {
  if (headers instanceof Headers) return headers.get(name)
  const value = headers[name]
  return typeof value === 'string' ? value : (value?.join(', ') ?? null)
}

function verify(message: Message, keys: Keyring, now: number): void {
  const verdict = verifyDispatch(keys, message, headerIn(message.headers, HEADER.signature), now)
  if (verdict === 'valid' || (verdict === 'stale_timestamp' && waited(message, now))) return
  throw new Refused(verdict, verdict === 'stale_timestamp' ? 'The signature is too old' : 'Not signed by a known key')
}

/** Lambda queues events for as long as the function is busy. Until the deadline, which is signed, the attempt is open. */
function waited({ method, body }: Message, now: number): boolean {
  if (method !== INVOKE) return false
  const { callback_id, deadline = '' } = (jsonIn(body) ?? {}) as Partial<DispatchBody>
  return callback_id !== undefined && Date.parse(deadline) > now
}

/** @throws {Refused} `invalid_request` when the bytes are not JSON in UTF-8 */
export function jsonIn(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw new Refused('invalid_request', 'The body is not JSON')
  }
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
function addressOf(body: DispatchBody, keyText: string | null, signed: boolean): CallbackAddress | undefined {
  const { callback_id: callbackId, callback_url: callbackUrl } = body
  if (callbackId === undefined && callbackUrl === undefined) return undefined
  if (callbackId === undefined || callbackUrl?.endsWith(`/${callbackId}/complete`) !== true) {
    throw new Refused('invalid_request', 'callback_url must end in /{callback_id}/complete')
  }
  const attemptKey = attemptKeyFrom(keyText)
  if (attemptKey === undefined && signed) {
    throw new Refused('invalid_request', `${HEADER.attemptKey} is missing`)
  }
  return { callbackId, url: callbackUrl.slice(0, -'/complete'.length), attemptKey }
}
