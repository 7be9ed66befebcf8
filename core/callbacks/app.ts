// The callback ingress: a Hono app with four actions on an attempt, events by token and a health check, and nothing else.

import { type Context, Hono, type HonoRequest } from 'hono'
import type { AttemptRef, CallbackStore } from '../engine.ts'
import { MillraceError } from '../errors.ts'
import { comesFromLoopback } from '../loopback.ts'
import { normalizePrefix } from '../protocol/callback-url.ts'
import { type Keyring, parseKeyring } from '../protocol/keyring.ts'
import { ANSWER_HEADERS, type HeldBytes, type RequestLimits, requestLimits } from '../request-limits.ts'
import { registerWait, waitRequest } from '../waits/register.ts'
import { CALLBACK_PREFIX, type CallbackAction, EVENTS_PREFIX, type EventAction } from '../wire.ts'
import { beatAnswer, type CallbackAnswer, closedAnswer, waitAnswer } from './answer.ts'
import { type Authentication, claimOf } from './authenticate.ts'
import { beat, completion, failure } from './bodies.ts'
import { EVENT_ACTIONS, type EventBody, eventClaim, eventPayload, recordEvent } from './events.ts'
import { admit, admitEvent, bodyOf, counted, NO_SUCH_PATH } from './limits.ts'
import { parseBody } from './parse.ts'
import { Problem, problemOf } from './problem.ts'
import { type GroupedStore, groupedStore } from './store.ts'

export interface CallbacksOptions {
  readonly store: CallbackStore
  /** The root keyring, or its text `kid:hex…`. */
  readonly keyring?: Keyring | string | undefined
  /** `/api/callbacks` unless given; blank for none. */
  readonly prefix?: string | undefined
  /** Where events by token come in: `/api/events` unless given. */
  readonly eventsPrefix?: string | undefined
  /** Takes Awa's bearer header `X-Awa-Signature` as well: true. */
  readonly compatible?: boolean | undefined
  /** 1 MiB. */
  readonly maxBodyBytes?: number | undefined
  /** {@link requestLimits} without a `clientOf` unless given: nothing is limited per client. */
  readonly limits?: RequestLimits | undefined
  /** Takes unsigned callbacks that are sent to and come from loopback, and no others; for development only. */
  readonly allowUnsigned?: boolean | undefined
  /** Milliseconds. */
  readonly now?: (() => number) | undefined
  readonly onEvent?: ((event: CallbackEvent) => void) | undefined
}

/** One callback or event as it was answered; `none` for a path that there is not. */
export interface CallbackEvent {
  readonly action: CallbackAction | 'event' | 'none'
  /** Whose it is, once that is proven. */
  readonly job?: string
  readonly attempt?: number
  /** How long it took. */
  readonly ms: number
  readonly status: number
  /** The recorded state of a 200, the error's code otherwise. */
  readonly outcome: string
  /** What the store failed with, behind a 422 or 503. */
  readonly cause?: unknown
}

interface Callback {
  readonly id: string
  readonly action: CallbackAction
  readonly ref: AttemptRef
  readonly body: ReturnType<typeof parseBody>
}

/** What is known of a request while it is handled. */
interface Call {
  readonly held: HeldBytes
  of: { readonly job: string; readonly attempt?: number } | undefined
}

const MAX_BODY_BYTES = 1024 * 1024

/**
 * Makes the ingress: `POST {prefix}/{callback id}/{complete|fail|heartbeat|wait}`, `POST {eventsPrefix}/{token}` and
 * `GET /healthz`. Each callback is verified, then closed with one statement, which it shares with those that arrive at the
 * same time. On Workers, where a connection belongs to one request, make the app per request with the request's own connection.
 *
 * @throws {MillraceError} `invalid_configuration` without a keyring (unless unsigned callbacks are allowed), `invalid_keyring`
 * @example
 * const app = callbacks({ store: new SqlEngine(sql), keyring: process.env.MILLRACE_KEYS })
 */
export function callbacks(options: CallbacksOptions): Hono {
  const authentication = authenticationOf(options)
  const store = groupedStore(options.store)
  const { maxBodyBytes = MAX_BODY_BYTES, limits = requestLimits(), now = Date.now, onEvent } = options

  const handle = async (
    { req: request, env }: Context,
    action: CallbackAction,
    call: Call,
  ): Promise<CallbackAnswer> => {
    checkMethod(request)
    const id = callbackIdIn(request.url)
    const allowUnsigned = authentication.allowUnsigned && comesFromLoopback(request.raw, env)
    const accepted = { ...authentication, allowUnsigned }
    const { ref, proof } = claimOf(name => request.header(name), { action, callbackId: id }, accepted)
    const bytes = await bodyOf(request, maxBodyBytes, call.held)
    proof?.(bytes, now())
    call.of = { job: ref.id, attempt: ref.attempt }
    return await record(store, { id, action, ref, body: parseBody(bytes) })
  }

  const handleEvent = async ({ req: request }: Context, action: EventAction, call: Call): Promise<EventBody> => {
    // Whoever follows a link, a preview or a scanner of mails among them, must not decide anything.
    checkMethod(request)
    const claim = eventClaim(authentication.keyring, request.param('token') ?? '', action)
    call.of = { job: claim.job }
    admitEvent(limits, claim)
    const bytes = await bodyOf(request, maxBodyBytes, call.held)
    return await recordEvent(options.store, claim, action, eventPayload(bytes, request.header('content-type')))
  }

  const answer = async (
    c: Context,
    action: CallbackEvent['action'],
    handle: (call: Call) => Promise<CallbackAnswer | EventBody>,
  ): Promise<Response> => {
    const client = limits.clientOf(c.req.raw, c.env)
    const call: Call = { held: limits.hold(), of: undefined }
    const began = performance.now()
    const tell = (status: number, outcome: string, cause?: unknown) =>
      onEvent?.({ action, status, outcome, ...call.of, ms: performance.now() - began, cause })
    try {
      admit(limits, client, c.req.url)
      const answer = await handle(call)
      tell(200, answer.state)
      return c.json(answer, 200, ANSWER_HEADERS)
    } catch (error) {
      const problem = counted(limits, client, problemOf(error, action === 'event' ? action : undefined))
      tell(problem.status, problem.code, problem.cause)
      return problem.response()
    } finally {
      call.held.release()
    }
  }

  const path = `${normalizePrefix(options.prefix ?? CALLBACK_PREFIX)}/:id/:action{complete|fail|heartbeat|wait}`
  const eventPath = `${eventsPrefixOf(options)}/:token`
  return (
    new Hono()
      // Not limited: whoever watches over the process must not take it for dead because others ask too much.
      .get('/healthz', c => c.json({ ok: true }, 200, ANSWER_HEADERS))
      .all(path, c => {
        const action = c.req.param('action') as CallbackAction
        return answer(c, action, call => handle(c, action, call))
      })
      .all(eventPath, c => answer(c, 'event', call => handleEvent(c, 'event', call)))
      .all(`${eventPath}/:action{${EVENT_ACTIONS.join('|')}}`, c =>
        answer(c, 'event', call => handleEvent(c, c.req.param('action') as EventAction, call)),
      )
      .notFound(c => answer(c, 'none', noSuchPath))
      .onError(error => problemOf(error).response())
  )
}

const noSuchPath = (): Promise<never> => Promise.reject(NO_SUCH_PATH)

async function record(store: GroupedStore, { id, action, ref, body }: Callback): Promise<CallbackAnswer> {
  if (action === 'heartbeat') return beatAnswer(id, await store.heartbeat({ ...ref, ...beat(body) }))
  if (action === 'wait') return waitAnswer(id, await registerWait(store, { ...ref, ...waitRequest(body) }))
  const outcome = action === 'complete' ? completion(body) : failure(body)
  return closedAnswer(id, outcome, await store.close({ ...ref, outcome }))
}

/** Fails closed: without keys nothing is taken unless that was asked for in so many words. */
function authenticationOf({ keyring, compatible = true, allowUnsigned = false }: CallbacksOptions): Authentication {
  if (keyring === undefined && !allowUnsigned) {
    throw new MillraceError('invalid_configuration', 'The callback ingress needs a keyring', {
      hint: 'Pass what `millrace keys generate` prints, or, for development only, allowUnsigned: true',
    })
  }
  return { keyring: typeof keyring === 'string' ? parseKeyring(keyring) : keyring, compatible, allowUnsigned }
}

function checkMethod({ method }: HonoRequest): void {
  if (method !== 'POST') throw new Problem(405, 'method_not_allowed', 'Callbacks and events come as POST')
}

/** Not blank: below no path at all a token would be taken for any file that somebody asks for. */
function eventsPrefixOf({ eventsPrefix = EVENTS_PREFIX }: CallbacksOptions): string {
  const prefix = normalizePrefix(eventsPrefix)
  if (prefix === '') throw new MillraceError('invalid_configuration', 'The prefix of events is blank')
  return prefix
}

/** As it stands in the path, before any unescaping: this is what was signed. */
const callbackIdIn = (url: string): string => new URL(url).pathname.split('/').at(-2) ?? ''
