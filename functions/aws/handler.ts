// A receiver as the handler of a Lambda function.

import type { Receiver } from '../../core/function/serve.ts'
import { type LambdaHttpAnswer, lambdaAnswer } from './answer.ts'
import { type LambdaHttpEvent, lambdaRequest, type PathMapping } from './event.ts'

export interface LambdaHandlerOptions {
  /**
   * The path as the dispatcher asked for it, from the event's, where the two differ beyond what `pathPrefix` puts back:
   * behind an API mapping of a custom domain, an HTTP API tells the stage's name in the mapping's place.
   */
  readonly originalPath?: PathMapping
}

/**
 * Takes dispatches from a function URL, API Gateway or a load balancer; a receiver's `env` is `process.env`.
 *
 * Lambda freezes a function once it has answered. So in callback mode, too, the answer waits until the handler has ended
 * and its callback was taken: let the kind's `target.requestTimeoutSeconds` be longer than the function may take.
 *
 * @example export const handler = lambdaHandler(serve({ kinds, dispatchKeys: process.env.MILLRACE_DISPATCH_KEYS }))
 */
export const lambdaHandler =
  (
    receiver: Pick<Receiver, 'fetch'>,
    { originalPath }: LambdaHandlerOptions = {},
  ): ((event: LambdaHttpEvent) => Promise<LambdaHttpAnswer>) =>
  async event => {
    const work: Promise<unknown>[] = []
    const waitUntil = (promise: Promise<unknown>) => void work.push(promise)
    const response = await receiver.fetch(lambdaRequest(event, originalPath), process.env, { waitUntil })
    await Promise.allSettled(work)
    return lambdaAnswer(response, event)
  }
