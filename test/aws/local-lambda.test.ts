// The local Lambda that other tests stand on does what AWS documents of the real one.

import { expect, test } from 'vitest'
import type { LocalLambda } from '../support/lambda/local-lambda.ts'
import { useLambda } from '../support/lambda/use-lambda.ts'

const ECHO = `let calls = 0
export const handler = async (event, { functionName, invokedFunctionArn, getRemainingTimeInMillis }) =>
  ({ event, calls: ++calls, functionName, invokedFunctionArn, hasTime: getRemainingTimeInMillis() > 0 })`

const SLOW = `export const handler = event => new Promise(resolve => setTimeout(resolve, event.ms))`

const onLambda = useLambda(() => ({
  echo: { code: ECHO },
  throws: { code: `export const handler = async () => { throw new TypeError('no such order') }` },
  slow: { code: SLOW, timeoutMs: 400 },
  dies: { code: 'export const handler = async () => process.exit(3)' },
  broken: { code: `throw new Error('cannot start')` },
  secret: { code: ECHO, denied: true },
}))

const AUTHORIZATION = 'AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/lambda/aws4_request'

async function invoke(lambda: LocalLambda, name: string, payload: unknown = {}, type = 'RequestResponse') {
  const headers = { authorization: AUTHORIZATION, 'x-amz-invocation-type': type }
  const url = `${lambda.url}/2015-03-31/functions/${encodeURIComponent(name)}/invocations`
  const body = typeof payload === 'string' ? payload : JSON.stringify(payload)
  const response = await fetch(url, { method: 'POST', headers, body })
  const text = await response.text()
  return {
    status: response.status,
    error: response.headers.get('x-amz-function-error') ?? response.headers.get('x-amzn-errortype'),
    answer: text === '' ? undefined : JSON.parse(text),
  }
}

test('a function is handed the event, stays warm, and answers', async context => {
  const lambda = onLambda(context)
  const { status, answer } = await invoke(lambda, 'echo', { n: 1 })
  expect([status, answer]).toEqual([
    200,
    {
      event: { n: 1 },
      calls: 1,
      functionName: 'echo',
      invokedFunctionArn: expect.stringMatching(/:echo$/),
      hasTime: true,
    },
  ])
  const arn = 'arn:aws:lambda:eu-west-1:123456789012:function:echo:live'
  expect((await invoke(lambda, arn)).answer).toMatchObject({ calls: 2, invokedFunctionArn: arn })
})

test('what it throws is a FunctionError; a time-out kills it; so does its own exit', async context => {
  const lambda = onLambda(context)
  expect(await invoke(lambda, 'throws')).toMatchObject({
    ...{ status: 200, error: 'Unhandled' },
    answer: { errorType: 'TypeError', errorMessage: 'no such order' },
  })
  expect(await invoke(lambda, 'slow', { ms: 60_000 })).toMatchObject({
    ...{ status: 200, error: 'Unhandled' },
    answer: { errorType: 'Sandbox.Timedout', errorMessage: expect.stringContaining('timed out after 0.40 seconds') },
  })
  expect(await invoke(lambda, 'slow', { ms: 0 })).toMatchObject({ status: 200, error: null })
  expect((await invoke(lambda, 'dies')).answer).toMatchObject({ errorType: 'Runtime.ExitError' })
  expect((await invoke(lambda, 'broken')).answer).toMatchObject({ errorMessage: 'cannot start' })
})

test('events are accepted and wait their turn, invocations are throttled', async context => {
  const lambda = onLambda(context)
  const before = lambda.finished.of({ function: 'slow' }).length
  for (const ms of [200, 1, 1]) expect(await invoke(lambda, 'slow', { ms }, 'Event')).toMatchObject({ status: 202 })
  expect(await invoke(lambda, 'slow')).toMatchObject({ status: 429, error: 'TooManyRequestsException' })
  await lambda.finished.until({ function: 'slow' }, before + 3)
  expect(await invoke(lambda, 'slow', {}, 'DryRun')).toMatchObject({ status: 204 })
})

test('what Lambda refuses', async context => {
  const lambda = onLambda(context)
  const answers = {
    unknown: await invoke(lambda, 'nobody'),
    denied: await invoke(lambda, 'secret'),
    malformed: await invoke(lambda, 'echo', '{'),
    large: await invoke(lambda, 'echo', { text: 'x'.repeat(1024 * 1024) }, 'Event'),
  }
  expect(Object.values(answers).map(({ status, error }) => [status, error])).toEqual([
    [404, 'ResourceNotFoundException'],
    [403, 'AccessDeniedException'],
    [400, 'InvalidRequestContentException'],
    [413, 'RequestTooLargeException'],
  ])
})
