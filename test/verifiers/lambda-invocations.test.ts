// Direct invocations as `lambdaHandler` and `verifyDispatchMessage` take them: what is signed, and for how long it counts.

import { type LambdaInvocationAnswer, lambdaHandler } from 'millrace/aws'
import { Refused, serve, verifyDispatchMessage } from 'millrace/function'
import { callbackIdOf, callbackUrl, dispatchHeaders } from 'millrace/protocol'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { dispatchKeys, resizing, startIngress } from '../support/function.ts'
import { keyring as both } from '../support/ingress.ts'

const keyring = { keys: [both.keys[0]] } as const
const NAME = 'thumbnails'
const ref = { segment: '0', id: '42', attempt: 1 }

beforeAll(() => {
  process.env.AWS_LAMBDA_FUNCTION_NAME = NAME
})
afterAll(() => {
  delete process.env.AWS_LAMBDA_FUNCTION_NAME
})

interface Invoking {
  readonly ingress?: string
  readonly path?: string
  readonly method?: string
  /** Milliseconds since it was signed. */
  readonly age?: number
  readonly deadlineMs?: number
  readonly kind?: string
}

function event({ ingress, path = NAME, method = 'INVOKE', age = 0, deadlineMs = 60_000, kind = 'resize' }: Invoking) {
  const now = Date.now() - age
  const deadline = new Date(Date.now() + deadlineMs).toISOString()
  const callbackId = ingress === undefined ? undefined : callbackIdOf(keyring, ref)
  const body = JSON.stringify({
    ...{ job_id: 42, kind, args: { width: 8 }, attempt: 1, max_attempts: 5, queue: 'default', deadline },
    ...(callbackId && {
      callback_id: callbackId,
      callback_url: callbackUrl(ingress ?? '', '', callbackId, 'complete'),
    }),
  })
  const bytes = new TextEncoder().encode(body)
  const headers = dispatchHeaders({ keyring, ref, callbackId, method, path, body: bytes, deadline, now })
  return { millrace: 1, headers, body } as const
}

const running = (options = {}) =>
  lambdaHandler(serve({ kinds: [resizing(({ width }) => ({ width }))], dispatchKeys, ...options }))

test('the answer is an envelope, too', async () => {
  const answer: LambdaInvocationAnswer = await running()(event({}))
  expect(answer).toEqual({
    ...{ millrace: 1, status: 200, body: '{"width":8}' },
    headers: { 'content-type': 'application/json' },
  })
  expect(await running({ pathPrefix: '/behind' })(event({}))).toMatchObject({ status: 200 })
})

test('it is signed for this function, as an invocation', async () => {
  const refused = { status: 401, headers: { 'millrace-no-retry': 'false' } }
  expect(await running()(event({ path: 'other' }))).toMatchObject(refused)
  expect(await running()(event({ path: `/${NAME}` }))).toMatchObject(refused)
  expect(await running()(event({ method: 'POST' }))).toMatchObject(refused)
  expect(await running()(event({ age: 301_000 }))).toMatchObject(refused)
  await expect(running()({ ...event({}), millrace: 2 } as never)).rejects.toThrow('version 2')
})

test('an event may have stood in a queue, until the deadline of its attempt', async () => {
  const ingress = await startIngress()
  const age = 3_600_000
  expect(await running()(event({ ingress: ingress.url, age }))).toMatchObject({ status: 202 })
  expect(ingress.received).toMatchObject([{ action: 'complete', body: { payload: { width: 8 } } }])
  const late = event({ ingress: ingress.url, age, deadlineMs: -1 })
  await expect(running()(late)).rejects.toMatchObject({ code: 'invalid_signature' })
})

test('nobody hears how an event is answered, so the ingress is told what is refused', async () => {
  const ingress = await startIngress()
  expect(await running()(event({ ingress: ingress.url, kind: 'other' }))).toMatchObject({ status: 501 })
  expect(await running({ concurrency: 0 })(event({ ingress: ingress.url }))).toMatchObject({ status: 429 })
  expect(ingress.received).toEqual([
    { action: 'fail', body: { error: 'No handler for the kind other', retryable: true } },
    { action: 'fail', body: { error: 'Too many jobs at once', retryable: true, retry_after_seconds: 1 } },
  ])
})

test('over HTTP nobody invokes', async () => {
  const receiver = serve({ kinds: [resizing(() => 'done')], dispatchKeys })
  const { headers, body } = event({})
  const request = new Request(`https://a.example/${NAME}`, { method: 'INVOKE', headers, body })
  expect((await receiver.fetch(request)).status).toBe(405)
})

test('verifyDispatchMessage takes the parts of an envelope', () => {
  const { headers, body } = event({})
  const message = { method: 'INVOKE', path: NAME, headers, body: new TextEncoder().encode(body) }
  expect(verifyDispatchMessage(message, { dispatchKeys }).jobId).toBe('42')
  expect(() => verifyDispatchMessage({ ...message, path: 'other' }, { dispatchKeys })).toThrow(Refused)
})
