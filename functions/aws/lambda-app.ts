// An HTTP app as the handler of a Lambda function.

import { type RequestLimits, requestLimits } from '../../core/request-limits.ts'
import { type LambdaHttpAnswer, lambdaAnswer } from './answer.ts'
import { isV2, type LambdaHttpEvent, lambdaRequest } from './event.ts'

interface App {
  fetch(request: Request, env?: object): Response | Promise<Response>
}

/**
 * Serves a function URL, API Gateway (HTTP and REST) or a load balancer. `make` is called with the first event, so that a mistake in
 * the configuration is an error of the function, with a message in its log.
 *
 * @example
 * export const handler = lambdaApp(() => callbacks({ store, keyring: process.env.MILLRACE_KEYS }))
 */
export function lambdaApp(make: () => App): (event: LambdaHttpEvent) => Promise<LambdaHttpAnswer> {
  let app: App | undefined
  return async event => {
    app ??= make()
    return lambdaAnswer(await app.fetch(lambdaRequest(event), { clientAddress: addressIn(event) }), event)
  }
}

/** An environment has little memory, and runs one request at a time. */
const BODY_BYTES = 32 * 1024 * 1024

/** Per client as AWS tells it. Each environment counts for itself. */
export const lambdaLimits = (): RequestLimits =>
  requestLimits({
    clientOf: (_, env) => (env as { clientAddress?: string } | undefined)?.clientAddress,
    bodyBytes: BODY_BYTES,
  })

/** Who has connected. A load balancer puts it at the end of a header, after whatever the client has sent in it. */
function addressIn(event: LambdaHttpEvent): string | undefined {
  if (isV2(event)) return event.requestContext.http.sourceIp
  const { identity, elb } = event.requestContext
  if (elb === undefined) return identity?.sourceIp
  const forwarded = event.multiValueHeaders?.['x-forwarded-for']?.at(-1) ?? event.headers?.['x-forwarded-for']
  return forwarded?.split(',').at(-1)?.trim()
}
