// The receiver: a Web `fetch` handler that runs the kinds it was given.

import { parseArgs } from '../args.ts'
import { MillraceError } from '../errors.ts'
import { INVOKE } from '../wire.ts'
import { answered, type Conclusion, concluded } from './attempt.ts'
import { type CodecOptions, codecSource, handlersByKind, type KeyOptions, keySource } from './configuration.ts'
import { deliver } from './deliver.ts'
import { answerOf, callbackOf, type Ending, refusedEnding } from './ending.ts'
import type { Handler } from './handler.ts'
import { type Payloads, payloadsOf } from './payloads.ts'
import { platformPort, type ReceiverPort } from './port.ts'
import { type Dispatch, MAX_BODY_BYTES, receive } from './receive.ts'
import { type RefusalCode, Refused, refusal } from './refused.ts'

export interface ServeOptions extends KeyOptions, CodecOptions {
  readonly kinds: readonly Handler[]
  /** Jobs at once, the rest is put off with 429; no limit unless given. */
  readonly concurrency?: number
  /** Sends a heartbeat so often while a handler runs in callback mode; none unless given. Seconds. */
  readonly heartbeatSeconds?: number
  /** Of a dispatch's body: 4 MiB unless given. */
  readonly maxBodyBytes?: number
  /** What a proxy in front of the function cuts off the path; it is part of what was signed. */
  readonly pathPrefix?: string
  readonly onEvent?: (event: ReceiverEvent) => void
  readonly port?: ReceiverPort
}

export type ReceiverEvent =
  | { readonly type: 'refused'; readonly code: RefusalCode; readonly message: string }
  | {
      readonly type: 'finished'
      readonly jobId: string
      readonly kind: string
      readonly attempt: number
      readonly ending: Ending
      /** How the callback went. */
      readonly conclusion: Conclusion
    }

/** The part of a Workers execution context that is used. */
export interface WaitUntil {
  waitUntil(work: Promise<unknown>): void
  /** Of `lambdaHandler`: the request stands for an invocation. */
  readonly isInvocation?: boolean
}

export interface Receiver {
  /** Takes one dispatch. Bound, so it can be handed to any server. */
  readonly fetch: (request: Request, env?: unknown, ctx?: WaitUntil) => Promise<Response>
  /** Resolves once no accepted job is running and every callback has been answered or given up. */
  readonly idle: () => Promise<void>
  /** From now on answers 503 with Retry-After (which costs the jobs no attempt), and resolves when idle. */
  readonly drain: () => Promise<void>
}

/**
 * Makes a receiver. A dispatch without callback is run and answered with its result; one with a callback is answered
 * 202 at once, run in the background (in `ctx.waitUntil` where there is one), and closed by a signed callback.
 *
 * @throws {MillraceError} `invalid_configuration` without keys or with a kind twice, `invalid_keyring`
 * @example
 * const receiver = serve({ kinds: [handle(renderReceipt, render)], dispatchKeys: process.env.MILLRACE_DISPATCH_KEYS })
 * app.post('/jobs', c => receiver.fetch(c.req.raw))
 */
export function serve(options: ServeOptions): Receiver {
  const handlers = handlersByKind(options.kinds)
  const keysIn = keySource(options)
  const codecIn = codecSource(options)
  const { port = platformPort, concurrency = Number.POSITIVE_INFINITY, heartbeatSeconds } = options
  const running = new Map<unknown, Promise<void>>()
  let draining = false

  const accept = async (request: Request, env: unknown, ctx: WaitUntil | undefined): Promise<Response> => {
    if (draining) throw new Refused('draining', 'This function is shutting down')
    const { maxBodyBytes = MAX_BODY_BYTES, pathPrefix = '' } = options
    const dispatch = await receive(request, {
      dispatchKeys: keysIn(env),
      maxBodyBytes,
      pathPrefix,
      now: port.now(),
      env,
      isInvocation: ctx?.isInvocation,
    })
    return await admit(dispatch, env, ctx).catch(error => {
      if (error instanceof Refused && request.method === INVOKE) tell(error, dispatch, ctx)
      throw error
    })
  }

  const admit = async (dispatch: Dispatch, env: unknown, ctx: WaitUntil | undefined): Promise<Response> => {
    // A repetition of what is running here (a retried request, a replay) starts nothing.
    if (running.has(dispatch.address?.callbackId)) return accepted()
    const handler = handlers.get(dispatch.body.kind)
    if (handler === undefined) throw new Refused('unknown_kind', `No handler for the kind ${dispatch.body.kind}`)
    if (running.size >= concurrency) throw new Refused('busy', 'Too many jobs at once')
    return start(handler, dispatch, payloadsOf(codecIn(env), dispatch.body.kind), ctx)
  }

  /** Nobody hears the answer to an event of Lambda. */
  const tell = (refused: Refused, { address }: Dispatch, ctx: WaitUntil | undefined): void => {
    if (address === undefined) return
    const { action, body } = callbackOf(refusedEnding(refused))
    ctx?.waitUntil(deliver(port, address, action, body, port.now() + REFUSAL_PATIENCE_MS))
  }

  const start = (handler: Handler, dispatch: Dispatch, payloads: Payloads, ctx?: WaitUntil): Promise<Response> => {
    const parsed = Promise.withResolvers<void>()
    const ended = work(handler, dispatch, payloads, parsed.resolve)
    const key = dispatch.address?.callbackId ?? dispatch
    const tracked = ended.then(nothing, nothing).then(() => void running.delete(key))
    running.set(key, tracked)
    if (dispatch.address === undefined) return ended.then(answerOf)
    ctx?.waitUntil(tracked)
    return Promise.race([parsed.promise, ended]).then(accepted)
  }

  /** Arguments are checked before the answer in either mode, so that wrong ones are refused while someone listens. */
  const work = async (handler: Handler, sent: Dispatch, payloads: Payloads, parsed: () => void): Promise<Ending> => {
    const dispatch = await payloads.open(sent)
    const args = await parseArgs(handler.kind, dispatch.body.args).catch(refuseArgs)
    parsed()
    const attempt = { port, handler, dispatch, payloads, args, heartbeatSeconds }
    const { ending, conclusion } = dispatch.address === undefined ? await answered(attempt) : await concluded(attempt)
    const { job_id, kind, attempt: number } = dispatch.body
    options.onEvent?.({ type: 'finished', jobId: String(job_id), kind, attempt: number, ending, conclusion })
    return ending
  }

  const idle = async () => {
    while (running.size > 0) await Promise.all(running.values())
  }

  const refuse = (error: unknown): Response => {
    if (!(error instanceof Refused)) throw error
    options.onEvent?.({ type: 'refused', code: error.code, message: error.message })
    return refusal(error)
  }

  return {
    fetch: (request, env, ctx) => accept(request, env, ctx).catch(refuse),
    idle,
    drain: () => {
      draining = true
      return idle()
    },
  }
}

/** How long the ingress is tried to be told of a refusal. */
const REFUSAL_PATIENCE_MS = 20_000

const accepted = (): Response => Response.json({ status: 'accepted' }, { status: 202 })
const nothing = () => undefined

function refuseArgs(error: unknown): never {
  if (!(error instanceof MillraceError) || error.code !== 'invalid_args') throw error
  throw new Refused('invalid_args', error.message, { issues: error.cause })
}
