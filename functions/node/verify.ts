// Middleware for node:http, Connect and Express that checks dispatches and webhooks, and a receiver as a listener.

import type { IncomingMessage, ServerResponse } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { MAX_BODY_BYTES, refuseMethod } from '../../core/function/receive.ts'
import { Refused } from '../../core/function/refused.ts'
import type { Receiver } from '../../core/function/serve.ts'
import {
  dispatchVerifier,
  type VerifiedDispatch,
  type VerifyDispatchOptions,
} from '../../core/function/verify-dispatch.ts'
import {
  type VerifiedWebhook,
  type VerifyWebhookOptions,
  verifyWebhookMessage,
} from '../../core/function/verify-webhook.ts'
import { keptBody, type ParsedRequest, pathOf, rawBodyOf } from './raw-body.ts'

export type NodeMiddleware = (
  request: IncomingMessage,
  response: ServerResponse,
  next: (error?: unknown) => unknown,
) => Promise<void>

/** What {@link nodeDispatch} lets through. */
export type DispatchRequestNode = IncomingMessage & { readonly dispatch: VerifiedDispatch }
/** What {@link nodeWebhook} lets through. */
export type WebhookRequestNode = IncomingMessage & { readonly webhook: VerifiedWebhook }

/**
 * Lets through dispatches that are signed with a known key, as `request.dispatch`; answers others. Reads the raw stream;
 * where a body parser was there first, it needs `rawBody` of it. `request.body` is the parsed body afterwards.
 *
 * @throws {MillraceError} `invalid_configuration`, `invalid_keyring`
 * @example
 * app.post('/jobs', nodeDispatch({ dispatchKeys: process.env.MILLRACE_DISPATCH_KEYS }), (req, res) => {
 *   start(req.dispatch)
 *   res.status(202).end()
 * })
 */
export function nodeDispatch(options: VerifyDispatchOptions): NodeMiddleware {
  const verify = dispatchVerifier(options)
  return answering(options.maxBodyBytes, async (request, body) => {
    const message = { method: 'POST', path: pathOf(request), headers: request.headers, body }
    const dispatch = verify(message, process.env)
    return { dispatch, body: dispatch.body }
  })
}

/**
 * Lets through webhooks that are signed with one of the secrets, as `request.webhook`; answers others. Reads bodies as
 * {@link nodeDispatch} does.
 *
 * @example app.post('/hooks', nodeWebhook({ secrets: process.env.WEBHOOK_SECRET }), (req, res) => res.sendStatus(204))
 */
export const nodeWebhook = (options: VerifyWebhookOptions): NodeMiddleware =>
  answering(options.maxBodyBytes, async ({ headers }, body) => {
    const webhook = await verifyWebhookMessage({ headers, body }, options, process.env)
    return { webhook, body: webhook.event }
  })

/** Reads, checks with `accept`, puts what that answers on the request and goes on; or answers with the refusal. */
const answering =
  (
    maxBodyBytes: number = MAX_BODY_BYTES,
    accept: (request: ParsedRequest, body: Uint8Array) => Promise<object>,
  ): NodeMiddleware =>
  async (request, response, next) => {
    try {
      refuseMethod(request.method ?? '')
      const rawBody = await rawBodyOf(request, maxBodyBytes)
      // `_body` is how body parsers tell each other that there is nothing left to do.
      Object.assign(request, await accept(request, rawBody), { rawBody, _body: true })
    } catch (error) {
      if (!(error instanceof Refused)) return void next(error)
      return await send(response, error.response())
    }
    next()
  }

/**
 * A receiver as a listener of node:http, or mounted in Connect or Express; also behind a body parser that keeps `rawBody`.
 * A receiver's `env` is `process.env`.
 *
 * @example createServer(nodeListener(receiver)).listen(3001)
 * @example app.post('/jobs', nodeListener(receiver))
 */
export function nodeListener(
  receiver: Receiver,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const listener = getRequestListener(
    (request, connection) => receiver.fetch(request, Object.assign(Object.create(process.env), connection)),
    { overrideGlobalObjects: false },
  )
  return async (incoming: ParsedRequest, response) => {
    try {
      const kept = keptBody(incoming)
      incoming.url = pathOf(incoming)
      if (kept !== undefined) incoming.rawBody = Buffer.from(kept)
    } catch (error) {
      if (error instanceof Refused) return await send(response, error.response())
      throw error
    }
    await listener(incoming, response)
  }
}

async function send(response: ServerResponse, answer: Response): Promise<void> {
  response.writeHead(answer.status, Object.fromEntries(answer.headers))
  response.end(await answer.text())
}
