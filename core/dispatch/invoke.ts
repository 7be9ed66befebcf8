// Hands a job to a function of AWS Lambda by invoking it: the envelope that goes out, and what comes back as a verdict.

import type { Json } from '../json.ts'
import { utf8 } from '../protocol/bytes.ts'
import type { LambdaAnswer, LambdaInvocation, LambdaInvoker, LambdaRefusal } from './lambda-invoker.ts'
import type { Route } from './route.ts'
import { ANSWER_LIMIT, type Answer, type DispatchRequest, TransportError } from './transport.ts'
import { failed, putBack } from './unsent.ts'
import { storable, type Verdict, verdictOn, verdictOnFailure, verdictOnThrottle } from './verdict.ts'

const JSON_TYPE = { 'content-type': 'application/json' }

/** Of the envelopes, both ways. */
const VERSION = 1

/** @throws {TransportError} */
export async function invoke(invoker: LambdaInvoker, request: DispatchRequest, route: Route): Promise<Verdict> {
  const answer = await invoker.invoke(invocationOf(request, route))
  if ('refused' in answer) return verdictOnRefusal(answer)
  if (answer.functionError !== undefined) return verdictOnFunctionError(answer, route)
  return verdictOn(answerIn(answer), route, Date.now())
}

function invocationOf({ headers, body, timeoutMs, signal }: DispatchRequest, route: Route): LambdaInvocation {
  const { function: name = '', qualifier, region } = route.lambda ?? {}
  const envelope = { millrace: VERSION, headers, body: new TextDecoder().decode(body) }
  return {
    function: name,
    qualifier,
    region,
    type: route.mode === 'callback' ? 'Event' : 'RequestResponse',
    payload: utf8(JSON.stringify(envelope)),
    timeoutMs,
    signal,
  }
}

/** Lambda accepted an event; or the function returned an envelope, an answer as for API Gateway, or simply its result. */
function answerIn({ status, payload }: LambdaAnswer): Answer {
  const value = objectIn(payload)
  const said = value?.millrace === VERSION ? value.status : value?.statusCode
  if (!Number.isInteger(said)) return answerOf(status, JSON_TYPE, payload)
  const { headers, body } = value as { headers?: Json; body?: Json }
  return answerOf(Number(said), textsIn(headers), typeof body === 'string' ? body : JSON.stringify(body ?? ''))
}

function answerOf(status: number, headers: Readonly<Record<string, string>>, text: string): Answer {
  const bytes = utf8(text)
  const truncated = bytes.length > ANSWER_LIMIT
  const body = truncated ? new TextDecoder().decode(bytes.subarray(0, ANSWER_LIMIT)) : text
  return { status, header: name => headers[name], body, truncated }
}

/** By names in lower case. */
const textsIn = (headers: Json | undefined): Record<string, string> =>
  Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), String(value)]))

function objectIn(payload: string): Record<string, Json> | undefined {
  try {
    const value: unknown = JSON.parse(payload)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, Json>)
      : undefined
  } catch {
    return undefined
  }
}

/** How Lambda tells that it has killed the function at its own time-out, with and without a type. */
const TIMED_OUT = /\bTask timed out after\b/

function verdictOnFunctionError({ payload }: LambdaAnswer, route: Route): Verdict {
  const { errorType = 'Error', errorMessage = payload } = objectIn(payload) ?? {}
  const message = storable(`function failed: ${errorType}: ${errorMessage}`)
  if (errorType === 'Sandbox.Timedout' || TIMED_OUT.test(String(errorMessage)))
    return verdictOnFailure(new TransportError('timeout', message, true), route)
  // The work is done; doing it again would only give the same result again.
  if (errorType === 'Function.ResponseSizeTooLarge')
    return verdictOn({ ...answerOf(200, JSON_TYPE, ''), body: ' ', truncated: true }, route, Date.now())
  return failed('function_error', message, true)
}

/** What is to be mended puts the job back, and costs no attempt; what cannot be mended is final. */
function verdictOnRefusal(refusal: LambdaRefusal): Verdict {
  const { status, refused, retryAfterMs } = refusal
  const message = storable(`Lambda answered ${status} ${refused}: ${refusal.message}`)
  if (status === 429 || status === 503 || /Throttl/.test(refused))
    return verdictOnThrottle({ code: 'lambda_throttled', message }, retryAfterMs)
  if (status === 413) return failed('payload_too_large', message)
  if (status === 404) return putBack('function_not_found', message)
  if (status === 401 || status === 403) return putBack('invoke_denied', message)
  if (status === 409 || refused === 'ResourceNotReadyException') return putBack('function_not_ready', message)
  return status < 500 ? putBack('invoke_refused', message) : failed('lambda_error', message, true)
}
