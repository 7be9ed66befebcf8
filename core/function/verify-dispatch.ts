// Checking a dispatch without the receiver: for functions that answer and call back in their own way.

import { idempotencyKeyOf } from '../protocol/dispatch-headers.ts'
import {
  type CallbackAction,
  type CompleteBody,
  type DispatchBody,
  type FailBody,
  type HeartbeatBody,
  INVOKE,
  type WaitBody,
} from '../wire.ts'
import { type KeyOptions, keySource } from './configuration.ts'
import { type CallbackAddress, type Delivered, deliver } from './deliver.ts'
import { type Events, eventsOf } from './events.ts'
import { platformPort, type ReceiverPort } from './port.ts'
import { rawBodyOf } from './raw-body.ts'
import { type Dispatch, dispatchIn, MAX_BODY_BYTES, type Message, refuseMethod } from './receive.ts'

export interface VerifyDispatchOptions extends Required<Pick<KeyOptions, 'dispatchKeys'>> {
  /** What a proxy or a mount in front has cut off the path; it is part of what was signed. */
  readonly pathPrefix?: string
  /** 4 MiB. */
  readonly maxBodyBytes?: number
  readonly port?: ReceiverPort
}

type BodyOf<Action> = Action extends 'complete'
  ? CompleteBody
  : Action extends 'fail'
    ? FailBody
    : Action extends 'heartbeat'
      ? HeartbeatBody
      : WaitBody

/** Where the end of the attempt is told. */
export interface DispatchCallback {
  readonly id: string
  /** Up to and including the callback id; `/complete` and the other actions come after it. */
  readonly url: string
  /**
   * Posts the callback, signed for this attempt, action and body, and again after network errors, 408, 429 and 5xx until the
   * attempt's deadline is over. Answers what the ingress said; undefined when it said nothing but such things.
   */
  send<Action extends CallbackAction>(action: Action, body?: BodyOf<Action>): Promise<Delivered | undefined>
}

/** A dispatch that was signed with a known key, for this path and body, not long ago. */
export interface VerifiedDispatch extends Pick<Events, 'event' | 'eventUrl'> {
  /** As it was sent: what a codec has sealed is sealed. */
  readonly body: DispatchBody
  readonly jobId: string
  /** The same for all attempts of the job: what effects can be made idempotent with. */
  readonly idempotencyKey: string
  /** In callback mode. In sync mode the answer is the end of the attempt. */
  readonly callback: DispatchCallback | undefined
  /** The body as it came. */
  readonly bytes: Uint8Array
}

/** A heartbeat moves the deadline without our knowing; callbacks are tried for so long at least. */
const PATIENCE_MS = 60_000

/**
 * Checks a dispatch of whatever server: `path` is path and query as in the request line, `body` the raw bytes.
 *
 * @throws {Refused} with the answer to give in `response()`
 * @example
 * // Fastify, with a content type parser that keeps the bytes as `rawBody`
 * const { method, headers, rawBody: body, raw } = request
 * const dispatch = verifyDispatchMessage({ method, path: raw.url, headers, body }, { dispatchKeys })
 */
export function verifyDispatchMessage(
  message: Message,
  options: VerifyDispatchOptions,
  env?: unknown,
): VerifiedDispatch {
  return dispatchVerifier(options)(message, env)
}

/** {@link verifyDispatchMessage} for many messages, with the keys read once. */
export function dispatchVerifier(
  options: VerifyDispatchOptions,
): (message: Message, env?: unknown) => VerifiedDispatch {
  // Whatever a caller without types leaves out, there is no verifying without keys.
  const keysIn = keySource({ dispatchKeys: options.dispatchKeys })
  const { port = platformPort, pathPrefix = '' } = options
  return (message, env) => {
    refuseMethod(message.method, true)
    const path = message.method === INVOKE ? message.path : `${pathPrefix}${message.path}`
    const signed = { ...message, path }
    return verified(dispatchIn(signed, keysIn(env), port.now()), message.body, port)
  }
}

/**
 * Checks a dispatch that came as a Web `Request`, whose body stays readable.
 *
 * @throws {Refused} with the answer to give in `response()`
 * @example
 * const dispatch = await verifyDispatchRequest(request, { dispatchKeys: env.MILLRACE_DISPATCH_KEYS })
 * queue.push(dispatch)
 * return Response.json({ status: 'accepted' }, { status: 202 })
 */
export async function verifyDispatchRequest(
  request: Request,
  options: VerifyDispatchOptions,
  env?: unknown,
): Promise<VerifiedDispatch> {
  const verify = dispatchVerifier(options)
  refuseMethod(request.method)
  return verify(messageOf(request, await rawBodyOf(request, options.maxBodyBytes ?? MAX_BODY_BYTES)), env)
}

/** A Web request's parts. */
export function messageOf({ method, url, headers }: Request, body: Uint8Array): Message {
  const { pathname, search } = new URL(url)
  return { method, path: pathname + search, headers, body }
}

function verified({ body, address, eventKey }: Dispatch, bytes: Uint8Array, port: ReceiverPort): VerifiedDispatch {
  const jobId = String(body.job_id)
  const deadline = Date.parse(body.deadline ?? '')
  const callback = address && callbackTo(address, Number.isNaN(deadline) ? 0 : deadline, port)
  const { event, eventUrl } = eventsOf(body, eventKey, () => body.progress)
  return { body, jobId, idempotencyKey: idempotencyKeyOf(jobId), callback, bytes, event, eventUrl }
}

const callbackTo = (address: CallbackAddress, deadline: number, port: ReceiverPort): DispatchCallback => ({
  id: address.callbackId,
  url: address.url,
  send: (action, body) =>
    deliver(port, address, action, JSON.stringify(body ?? {}), Math.max(deadline, port.now() + PATIENCE_MS)),
})
