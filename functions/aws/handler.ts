// A receiver as the handler of a Lambda function.

import type { Receiver } from '../../core/function/serve.ts'
import { type LambdaHttpAnswer, lambdaAnswer } from './answer.ts'
import { type LambdaHttpEvent, lambdaRequest, type PathMapping } from './event.ts'
import {
  invocationAnswer,
  invocationRequest,
  isInvocation,
  type LambdaInvocationAnswer,
  type LambdaInvocationEvent,
} from './invocation.ts'

export interface LambdaHandlerOptions {
  /**
   * The path as the dispatcher asked for it, from the event's, where the two differ beyond what `pathPrefix` puts back:
   * behind an API mapping of a custom domain, an HTTP API tells the stage's name in the mapping's place.
   */
  readonly originalPath?: PathMapping
}

/** Answers in the form of the event. */
export interface LambdaHandler {
  (event: LambdaHttpEvent): Promise<LambdaHttpAnswer>
  (event: LambdaInvocationEvent): Promise<LambdaInvocationAnswer>
}

/**
 * Takes dispatches by direct invocation, from a function URL, API Gateway or a load balancer; a receiver's `env` is `process.env`.
 *
 * Lambda freezes a function once it has answered. So in callback mode, too, the answer waits until the handler has ended
 * and its callback was taken: let the kind's `target.requestTimeoutSeconds` be longer than the function may take.
 *
 * @example export const handler = lambdaHandler(serve({ kinds, dispatchKeys: process.env.MILLRACE_DISPATCH_KEYS }))
 */
export function lambdaHandler(
  receiver: Pick<Receiver, 'fetch'>,
  { originalPath }: LambdaHandlerOptions = {},
): LambdaHandler {
  const fetch = async (request: Request, isInvocation: boolean): Promise<Response> => {
    const work: Promise<unknown>[] = []
    const waitUntil = (promise: Promise<unknown>) => void work.push(promise)
    const response = await receiver.fetch(request, process.env, { waitUntil, isInvocation })
    await Promise.allSettled(work)
    return response
  }
  const handler = async (event: LambdaHttpEvent | LambdaInvocationEvent) =>
    isInvocation(event)
      ? invocationAnswer(await fetch(invocationRequest(event), true), event)
      : lambdaAnswer(await fetch(lambdaRequest(event, originalPath), false), event)
  return handler as LambdaHandler
}
