// Web responses in the form that Lambda's caller wants: the one that its event came in.

import { STATUS_CODES } from 'node:http'
import { isV2, type LambdaHttpEvent } from './event.ts'

export interface LambdaHttpAnswer {
  readonly statusCode: number
  /** Load balancers want it. */
  readonly statusDescription?: string
  readonly headers?: Record<string, string>
  readonly multiValueHeaders?: Record<string, string[]>
  readonly cookies?: string[]
  readonly body: string
  readonly isBase64Encoded: boolean
}

const TEXT = /^(text\/|application\/([\w.+-]+\+)?(json|xml)\b|application\/x-www-form-urlencoded\b)/i

/** Answers an event with a response: text as it is, anything else in base64. */
export async function lambdaAnswer(response: Response, event: LambdaHttpEvent): Promise<LambdaHttpAnswer> {
  const { status: statusCode, headers } = response
  const bytes = Buffer.from(await response.arrayBuffer())
  const isText = bytes.length === 0 || TEXT.test(headers.get('content-type') ?? '')
  const body = { body: bytes.toString(isText ? 'utf8' : 'base64'), isBase64Encoded: !isText }
  if (isV2(event)) return { statusCode, ...flat(headers, true), ...body }
  const { elb } = event.requestContext
  const statusDescription = `${statusCode} ${STATUS_CODES[statusCode] ?? 'Unknown'}`
  const isMulti = event.multiValueHeaders !== undefined && event.multiValueHeaders !== null
  return {
    statusCode,
    ...(elb !== undefined && { statusDescription }),
    // A load balancer ignores the form that it is not set up for.
    ...(isMulti ? { multiValueHeaders: listed(headers) } : flat(headers, false)),
    ...body,
  }
}

/** Headers by their names; of several cookies, which must not be joined, the last where there is no list for them. */
function flat(headers: Headers, withCookies: boolean): Pick<LambdaHttpAnswer, 'headers' | 'cookies'> {
  const all = Object.fromEntries(headers)
  const cookies = headers.getSetCookie()
  if (!withCookies || cookies.length === 0) return { headers: all }
  delete all['set-cookie']
  return { headers: all, cookies }
}

function listed(headers: Headers): Record<string, string[]> {
  const lists: Record<string, string[]> = {}
  for (const [name, value] of headers) lists[name] = [...(lists[name] ?? []), value]
  return lists
}
