// Hono: middleware that checks dispatches and webhooks, and a receiver mounted as a handler.

import type { Context, Handler, MiddlewareHandler } from 'hono'
import { consumed, rawBodyOf as rawBodyOfRequest } from './raw-body.ts'
import { MAX_BODY_BYTES, refuseMethod } from './receive.ts'
import { Refused } from './refused.ts'
import type { Receiver } from './serve.ts'
import { dispatchVerifier, messageOf, type VerifiedDispatch, type VerifyDispatchOptions } from './verify-dispatch.ts'
import { type VerifiedWebhook, type VerifyWebhookOptions, verifyWebhookMessage } from './verify-webhook.ts'

/**
 * Lets through dispatches that are signed with a known key, as `c.get('dispatch')`; answers others. The body may have
 * been read before through `c.req`, and can be afterwards.
 *
 * @throws {MillraceError} `invalid_configuration`, `invalid_keyring`
 * @example
 * app.post('/jobs', honoDispatch({ dispatchKeys: env => env.MILLRACE_DISPATCH_KEYS }), async c => {
 *   const { body, callback } = c.get('dispatch')
 * })
 */
export function honoDispatch(
  options: VerifyDispatchOptions,
): MiddlewareHandler<{ Variables: { dispatch: VerifiedDispatch } }> {
  const verify = dispatchVerifier(options)
  return answering(options.maxBodyBytes, async (c, body) => {
    c.set('dispatch', verify(messageOf(c.req.raw, body), c.env))
  })
}

/**
 * Lets through webhooks that are signed with one of the secrets, as `c.get('webhook')`; answers others.
 *
 * @example
 * app.post('/hooks', honoWebhook({ secrets: env => env.WEBHOOK_SECRET }), c => {
 *   const { id, event } = c.get('webhook')
 *   return c.body(null, 204)
 * })
 */
export const honoWebhook = (
  options: VerifyWebhookOptions,
): MiddlewareHandler<{ Variables: { webhook: VerifiedWebhook } }> =>
  answering(options.maxBodyBytes, async (c, body) => {
    c.set('webhook', await verifyWebhookMessage({ headers: c.req.raw.headers, body }, options, c.env))
  })

/**
 * A receiver as a handler, also behind middleware that has read the body through `c.req`.
 *
 * @example app.post('/jobs', honoReceiver(receiver))
 */
export const honoReceiver =
  (receiver: Receiver): Handler =>
  async c => {
    const { url, headers, method, body } = c.req.raw
    const kept = keptBody(c)
    const request = kept === undefined ? c.req.raw : new Request(url, { method, headers, body: await bytesOf(kept) })
    if (kept === undefined && body !== null && c.req.raw.bodyUsed) return consumed(HINT).response()
    return receiver.fetch(request, c.env, contextOf(c))
  }

const HINT = 'Read it through c.req.text() or c.req.arrayBuffer() there, or put this before it'

/** Reads, checks with `accept`, and goes on; or answers with the refusal. */
const answering =
  <Variables extends object>(
    maxBodyBytes: number = MAX_BODY_BYTES,
    accept: (c: Context<{ Variables: Variables }>, body: Uint8Array) => Promise<void>,
  ): MiddlewareHandler<{ Variables: Variables }> =>
  async (c, next) => {
    try {
      refuseMethod(c.req.method)
      await accept(c, await rawBodyOf(c, maxBodyBytes))
    } catch (error) {
      if (error instanceof Refused) return error.response()
      throw error
    }
    return next()
  }

async function rawBodyOf(c: Context, maxBytes: number): Promise<Uint8Array> {
  const kept = keptBody(c)
  if (kept !== undefined) {
    const bytes = await bytesOf(kept)
    if (bytes.length > maxBytes) throw new Refused('body_too_large', `The body is larger than ${maxBytes} bytes`)
    return bytes
  }
  if (c.req.raw.bodyUsed) throw consumed(HINT)
  return rawBodyOfRequest(c.req.raw, maxBytes)
}

/** What Hono remembers of a body that was read through `c.req`. A form or parsed JSON does not say what it was read from. */
function keptBody(c: Context): Promise<BodyInit> | undefined {
  const { arrayBuffer, blob, bytes, text } = c.req.bodyCache as Record<string, Promise<BodyInit> | undefined>
  return arrayBuffer ?? bytes ?? blob ?? text
}

const bytesOf = async (kept: Promise<BodyInit>): Promise<Uint8Array<ArrayBuffer>> =>
  new Uint8Array(await new Response(await kept).arrayBuffer())

/** Hono throws where the platform has none. */
function contextOf(c: Context): Parameters<Receiver['fetch']>[2] {
  try {
    return c.executionCtx
  } catch {
    return undefined
  }
}
