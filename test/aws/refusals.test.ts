// What Lambda's API answers instead of running a function, through AWS's SDK, and what becomes of the job.

import { createServer } from 'node:http'
import { lambdaInvoker } from 'millrace/lambda'
import { expect, test } from 'vitest'
import { invoke } from '../../core/dispatch/invoke.ts'
import type { Route } from '../../core/dispatch/route.ts'
import type { Verdict } from '../../core/dispatch/verdict.ts'
import { listenNode } from '../support/http-server.ts'

interface Refusal {
  readonly status: number
  readonly type: string
  readonly headers?: Record<string, string>
}

/** An API that answers so; what is then to be done, in either mode. */
async function verdictsOn({ status, type, headers = {} }: Refusal): Promise<Verdict[]> {
  const server = createServer((request, response) => {
    request.resume()
    response.writeHead(status, { 'content-type': 'application/json', 'x-amzn-errortype': type, ...headers })
    response.end(JSON.stringify({ message: 'as told' }))
  })
  const endpoint = await listenNode(server)
  const credentials = { accessKeyId: 'AKID', secretAccessKey: 'xyzzy' }
  const invoker = lambdaInvoker({ endpoint, region: 'eu-west-1', credentials })
  const { signal } = new AbortController()
  const request = { origin: 'lambda:f', path: 'f', headers: {}, body: new Uint8Array(), timeoutMs: 5_000, signal }
  const verdicts = await Promise.all(
    (['sync', 'callback'] as const).map(mode =>
      invoke(invoker, request, { mode, lambda: { function: 'f' } } as unknown as Route),
    ),
  )
  invoker.end()
  return verdicts
}

test.each<[status: number, type: string, outcome: object]>([
  [503, 'ServiceUnavailableException', { kind: 'put_back', error: { code: 'lambda_throttled' } }],
  [502, 'EC2ThrottledException', { kind: 'put_back', error: { code: 'lambda_throttled' } }],
  [404, 'ResourceNotFoundException', { kind: 'put_back', error: { code: 'function_not_found' } }],
  [403, 'AccessDeniedException', { kind: 'put_back', error: { code: 'invoke_denied' } }],
  [403, 'ExpiredTokenException', { kind: 'put_back', error: { code: 'invoke_denied' } }],
  [409, 'ResourceConflictException', { kind: 'put_back', error: { code: 'function_not_ready' } }],
  [502, 'ResourceNotReadyException', { kind: 'put_back', error: { code: 'function_not_ready' } }],
  [400, 'InvalidParameterValueException', { kind: 'put_back', error: { code: 'invoke_refused' } }],
  [413, 'RequestTooLargeException', { kind: 'failed', retryable: false, error: { code: 'payload_too_large' } }],
  [413, 'RequestEntityTooLargeException', { kind: 'failed', retryable: false, error: { code: 'payload_too_large' } }],
  [500, 'ServiceException', { kind: 'failed', retryable: true, error: { code: 'lambda_error' } }],
  [502, 'KMSDisabledException', { kind: 'failed', retryable: true, error: { code: 'lambda_error' } }],
])('%s %s', async (status, type, outcome) => {
  for (const verdict of await verdictsOn({ status, type })) {
    expect(verdict).toMatchObject({ do: 'close', outcome })
    const message = `Lambda answered ${status} ${type}: as told`
    expect(verdict).toMatchObject({ outcome: { error: { message } } })
  }
})

test('a throttle that names a time is obeyed; one that names none takes two to four seconds', async () => {
  const throttle = { status: 429, type: 'TooManyRequestsException' }
  for (const verdict of await verdictsOn({ ...throttle, headers: { 'retry-after': '7' } }))
    expect(verdict).toMatchObject({ outcome: { kind: 'put_back', delayMs: 7_000 }, throttleMs: 7_000 })
  for (const verdict of await verdictsOn(throttle)) {
    const { throttleMs = 0 } = verdict as { throttleMs?: number }
    expect(throttleMs).toBeGreaterThanOrEqual(2_000)
    expect(throttleMs).toBeLessThanOrEqual(4_000)
  }
})
