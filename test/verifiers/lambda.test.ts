// Receivers as Lambda handlers: events as AWS documents them, and work that goes on after the answer, which Lambda has not.

import { type LambdaHttpEvent, lambdaAnswer, lambdaHandler, lambdaRequest } from 'millrace/aws'
import { serve } from 'millrace/function'
import { describe, expect, test } from 'vitest'
import { dispatchKeys, dispatchRequest, resizing, startIngress } from '../support/function.ts'
import {
  balancerEvent,
  functionUrlEvent,
  multiValueBalancerEvent,
  restEvent,
  serveLambda,
} from '../support/lambda-events.ts'
import { sendRaw } from '../support/raw-http.ts'

const EVENTS = [
  ['function URL', functionUrlEvent],
  ['REST API', restEvent],
  ['load balancer', balancerEvent],
  ['load balancer with lists', multiValueBalancerEvent],
] as const

const receiving = (run: () => unknown = () => 'done', options = {}) => {
  const receiver = serve({ kinds: [resizing(run)], dispatchKeys, ...options })
  return { receiver, handler: lambdaHandler(receiver) }
}

describe.each(EVENTS)('%s', (name, eventOf) => {
  test('sync mode: the result is in the answer', async () => {
    const base = await serveLambda(eventOf, receiving(() => ({ text: 'Größe' })).handler)
    const response = await fetch(dispatchRequest(base, { path: '/prod/jobs' }))
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/json'])
    expect(await response.json()).toEqual({ text: 'Größe' })
  })

  test('callback mode: the answer comes when the work is done and told', async () => {
    const ingress = await startIngress()
    const gate = Promise.withResolvers<string>()
    let answered = false
    const base = await serveLambda(eventOf, receiving(() => gate.promise).handler)
    const response = fetch(dispatchRequest(base, { ingress: ingress.url })).finally(() => (answered = true))
    gate.resolve('done')
    await ingress.count(1)
    const before = answered
    expect([before, (await response).status]).toEqual([false, 202])
    expect(ingress.received).toEqual([{ action: 'complete', body: { payload: 'done' } }])
  })

  test('a handler that fails says so, and headers come through', async () => {
    const { handler } = receiving(() => Promise.reject(new Error('out of paper')))
    const base = await serveLambda(eventOf, handler)
    const response = await fetch(dispatchRequest(base))
    expect([response.status, await response.json()]).toEqual([500, { error: 'out of paper' }])
    const forged = await fetch(dispatchRequest(base), { headers: { 'millrace-signature': 't=1,kid=k1,v1=0' } })
    expect([forged.status, forged.headers.get('millrace-no-retry')]).toEqual([401, 'false'])
  })

  test.each([
    '/prod/jobs?a=1&b=2&a=3',
    '/prod/jobs?token=a%2Fb%3D',
    '/jobs/a-b_c.d~e',
    ...(name === 'function URL' ? ['/jobs?flag', '/jobs?b=%20+&a=%7E', '/a%2Fb?x=%c3%a4'] : []),
    ...(name.startsWith('load') ? ['/jobs?b=%20+&a=%7E', '/a%2Fb?x=%c3%a4'] : []),
  ])('the path %s verifies', async path => {
    const several = /a=1&b=2&a=3/.test(path)
    const base = await serveLambda(eventOf, receiving().handler)
    const body = [JSON.stringify({ job_id: 1, kind: 'resize', args: { width: 1 }, attempt: 1, max_attempts: 1 })]
    const { status } = await sendRaw(base, { path, body })
    // Their order, or all but the last of them, is not in the event.
    expect(status).toBe(several && name !== 'function URL' ? 401 : 200)
  })
})

const V2: LambdaHttpEvent = {
  version: '2.0',
  rawPath: '/prod/jobs',
  rawQueryString: '',
  headers: { 'content-type': 'application/json' },
  requestContext: { http: { method: 'POST' }, domainName: 'jobs.example.com' },
  body: '{}',
  isBase64Encoded: false,
}
const REST: LambdaHttpEvent = { httpMethod: 'POST', path: '/jobs', headers: null, requestContext: {}, body: null }

describe('requests', () => {
  const urlOf = (change: object, event: LambdaHttpEvent = V2) => lambdaRequest({ ...event, ...change }).url

  test('the stage is a part of the path', () => {
    expect(urlOf({})).toBe('https://jobs.example.com/prod/jobs')
    expect(urlOf({ requestContext: { path: '/prod/jobs' } }, REST)).toBe('https://lambda.invalid/prod/jobs')
    expect(urlOf({}, REST)).toBe('https://lambda.invalid/jobs')
  })

  test('what AWS has decoded is encoded again, as far as it can be told', () => {
    expect(urlOf({ rawPath: '/a b/ä?#' })).toBe('https://jobs.example.com/a%20b/%C3%A4%3F%23')
    expect(urlOf({ queryStringParameters: { 'a b': 'c&d' } }, REST)).toBe('https://lambda.invalid/jobs?a%20b=c%26d')
  })

  test('an API mapping of a custom domain can be put back', () => {
    expect(lambdaRequest(V2, path => path.replace('/prod', '/api')).url).toBe('https://jobs.example.com/api/jobs')
  })

  test('base64 is bytes, and no body is no bytes', async () => {
    const request = lambdaRequest({ ...V2, body: '77u/AP8=', isBase64Encoded: true })
    expect([...new Uint8Array(await request.arrayBuffer())]).toEqual([0xef, 0xbb, 0xbf, 0, 0xff])
    expect((await lambdaRequest(REST).arrayBuffer()).byteLength).toBe(0)
  })

  test('nobody breaks it with a strange host or header', () => {
    for (const host of ['a b', 'x/../y', 'a:b', '', '@', 'a?b']) {
      expect(new URL(urlOf({ headers: { host, 'x y': 'z', note: 'a\nb', 'x-name': '✓' } })).pathname).toBe('/prod/jobs')
    }
    expect(() => lambdaRequest({ Records: [] } as never)).toThrow(expect.objectContaining({ code: 'invalid_request' }))
    expect(() => lambdaRequest({ version: '2.0' } as never)).toThrow(
      expect.objectContaining({ code: 'invalid_request' }),
    )
  })
})

describe('answers', () => {
  const cookies = () =>
    new Response('{}', {
      headers: [
        ['content-type', 'application/json'],
        ['set-cookie', 'a=1'],
        ['set-cookie', 'b=2'],
      ],
    })

  test('have the form of the event', async () => {
    expect(await lambdaAnswer(cookies(), V2)).toEqual({
      statusCode: 200,
      headers: { 'content-type': 'application/json' },
      cookies: ['a=1', 'b=2'],
      body: '{}',
      isBase64Encoded: false,
    })
    expect(await lambdaAnswer(cookies(), { ...REST, multiValueHeaders: {} })).toEqual({
      statusCode: 200,
      multiValueHeaders: { 'content-type': ['application/json'], 'set-cookie': ['a=1', 'b=2'] },
      body: '{}',
      isBase64Encoded: false,
    })
    const elb = { ...REST, headers: {}, requestContext: { elb: {} } }
    expect(await lambdaAnswer(new Response(null, { status: 202 }), elb)).toEqual({
      statusCode: 202,
      statusDescription: '202 Accepted',
      headers: {},
      body: '',
      isBase64Encoded: false,
    })
  })

  test('what is no text goes in base64', async () => {
    expect(
      await lambdaAnswer(new Response(Uint8Array.of(0xff, 0), { headers: { 'content-type': 'application/pdf' } }), V2),
    ).toMatchObject({
      body: '/wA=',
      isBase64Encoded: true,
    })
  })
})
