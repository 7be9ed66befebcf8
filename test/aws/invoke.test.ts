// Jobs of functions of Lambda, invoked through AWS's SDK and run by AWS's runtime client.

import { createServer } from 'node:net'
import { lambdaInvoker } from 'millrace/lambda'
import { formatKeyring } from 'millrace/protocol'
import { describe, expect, type TestContext, test, vi } from 'vitest'
import { runCli } from '../support/cli.ts'
import { keyring } from '../support/ingress.ts'
import { listening } from '../support/lambda/listening.ts'
import { credentials, ending, fixture, invoking, region } from '../support/lambda/use-invoked.ts'
import { useLambda } from '../support/lambda/use-lambda.ts'

const returning = (value: unknown) => ({ code: `export const handler = async () => (${JSON.stringify(value)})` })

const onLambda = useLambda(() => ({
  jobs: fixture('receiver.ts'),
  slow: fixture('receiver.ts', { timeoutMs: 700 }),
  stranger: fixture('receiver.ts', { env: { MILLRACE_DISPATCH_KEYS: `k9:${'09'.repeat(32)}` } }),
  plain: returning({ pages: 2 }),
  nothing: returning(null),
  proxy: returning({ statusCode: 422, headers: { 'X-A': 'b' }, body: 'no such page' }),
  large: returning({ text: 'x'.repeat(1024 * 1024) }),
  throws: { code: `export const handler = async () => { throw new RangeError('too \\0 much') }` },
  denied: { ...returning(null), denied: true },
}))

/** The first run of each function is a cold start. */
vi.setConfig({ testTimeout: 60_000 })

describe('sync mode: what the function answers ends the attempt', () => {
  test('a receiver gives its result, and is told what an HTTP dispatch tells', async context => {
    const lambda = onLambda(context)
    const { afterOne } = await invoking(context, lambda.url)
    const { id, state, result } = await afterOne('jobs', { args: { do: 'return' } })
    expect([state, result]).toEqual(['completed', { text: 'Größe', attempt: 1, key: `millrace-${id}` }])
    const { payload, type } = lambda.invoked.all.at(-1) ?? expect.fail('nothing was invoked')
    const { millrace, headers, body } = JSON.parse(payload)
    expect([type, millrace, JSON.parse(body).job_id]).toEqual(['RequestResponse', 1, id])
    expect(Object.keys(headers).sort()).toEqual([
      ...['content-type', 'idempotency-key', 'millrace-attempt', 'millrace-deadline', 'millrace-event-key'],
      ...['millrace-signature', 'user-agent'],
    ])
  })

  test('what a handler says means what it means over HTTP', async context => {
    const { afterOne } = await invoking(context, onLambda(context).url)
    const said = (what: string) => afterOne('jobs', { args: { do: what } })
    expect(await said('throw')).toMatchObject({ state: 'retryable', errors: [{ code: 'http_500' }] })
    expect(await said('give up')).toMatchObject({ state: 'failed', errors: [{ code: 'http_500' }] })
    expect(await said('snooze')).toMatchObject({ state: 'scheduled', errors: [], put_back: null })
    expect(await said('later')).toMatchObject({ state: 'scheduled', errors: [], put_back: { code: 'http_503' } })
  })

  test('what else functions answer, and what Lambda refuses', async context => {
    const { afterOne } = await invoking(context, onLambda(context).url)
    const said = (fn: string) => afterOne(fn, { args: { do: 'return' } })
    expect(await said('plain')).toMatchObject({ state: 'completed', result: { pages: 2 }, errors: [] })
    expect(await said('nothing')).toMatchObject({ state: 'completed', result: null, errors: [] })
    const tooLarge = { state: 'completed', result: null, errors: [{ code: 'result_too_large' }] }
    expect(await said('large')).toMatchObject(tooLarge)
    const unprocessable = { code: 'http_422', message: 'function returned 422: no such page' }
    expect(await said('proxy')).toMatchObject({ state: 'failed', errors: [unprocessable] })
    expect(await said('stranger')).toMatchObject({ state: 'retryable', errors: [{ code: 'http_401' }] })
    const thrown = { code: 'function_error', message: 'function failed: RangeError: too \ufffd much' }
    expect(await said('throws')).toMatchObject({ state: 'retryable', errors: [thrown] })
    expect(await said('nobody')).toMatchObject({ state: 'scheduled', put_back: { code: 'function_not_found' } })
    const denied = { code: 'invoke_denied', message: expect.stringContaining('is not authorized') }
    expect(await said('denied')).toMatchObject({ state: 'scheduled', put_back: denied })
  })

  test("Lambda's time-out kills the function; that, its death and a time-out here are retried", async context => {
    const lambda = onLambda(context)
    const { afterOne } = await invoking(context, lambda.url)
    const killed = { code: 'timeout', message: expect.stringContaining('timed out after 0.70 seconds') }
    expect(await afterOne('slow', { args: { do: 'hang' } })).toMatchObject({ state: 'retryable', errors: [killed] })
    const dead = { state: 'retryable', errors: [{ code: 'function_error' }] }
    expect(await afterOne('slow', { args: { do: 'die' } })).toMatchObject(dead)
    const ended = ending(lambda, 'slow')
    const target = { requestTimeoutSeconds: 0.2 }
    const late = { state: 'retryable', errors: [{ code: 'timeout', message: 'no answer within 200 ms' }] }
    expect(await afterOne('slow', { args: { do: 'hang' }, target })).toMatchObject(late)
    await ended()
  })

  test('arguments that are too large for an invocation, or an event, fail for good', async context => {
    const { database, work, send, afterOne } = await invoking(context, onLambda(context).url)
    await database.sql`update millrace.setting set value = ${8 * 1024 * 1024} where name = 'payload_limit_bytes'`
    const args = (megabytes: number) => ({ args: { text: 'x'.repeat(megabytes * 1024 * 1024) } })
    const tooLarge = { state: 'failed', errors: [{ code: 'payload_too_large' }] }
    expect(await afterOne('plain', args(1))).toMatchObject({ state: 'completed' })
    expect(await afterOne('plain', args(6))).toMatchObject(tooLarge)
    const event = await send('callback', 'plain', args(1))
    await work.closed(event)
    expect(await database.job(event)).toMatchObject(tooLarge)
  })
})

test('a function with too much to do is slowed down; its jobs are put back, which costs no attempt', async context => {
  const { database, work } = await invoking(context, onLambda(context).url)
  await database.declare([{ name: 'work_1', target: { lambda: { function: 'slow', region }, mode: 'sync' } }])
  const ids = await Promise.all([1, 2, 3].map(() => database.enqueue('work_1', { do: 'hang' })))
  expect(await work.events.first({ type: 'throttled' })).toMatchObject({ origin: 'lambda:eu-west-1:slow' })
  const jobs = await Promise.all(ids.map(id => work.closed(id).then(() => database.job(id))))
  expect(jobs.filter(job => job.put_back !== null)).toMatchObject([
    { attempt: 2, max_attempts: 26, errors: [], put_back: { code: expect.stringMatching(/^(lambda_)?throttled$/) } },
    { attempt: 2, max_attempts: 26, errors: [] },
  ])
})

describe('callback mode: an event is accepted, and the function calls back', () => {
  test('what a handler says means what it means over HTTP; nobody hears an answer, so that refusals are told, too', async context => {
    const lambda = onLambda(context)
    const { database, work, send } = await invoking(context, lambda.url)
    const said = async (what: string, kind?: string) => {
      const ended = ending(lambda, 'jobs')
      const id = await send('callback', 'jobs', { args: { do: what }, ...(kind !== undefined && { kind }) })
      expect(await work.events.first({ type: 'parked', job: id })).not.toHaveProperty('code')
      expect(await ended()).not.toHaveProperty('error')
      return database.job(id)
    }
    expect(await said('return')).toMatchObject({ state: 'completed', result: { text: 'Größe' } })
    expect(lambda.invoked.all.at(-1)).toMatchObject({ type: 'Event', status: 202 })
    expect(await said('throw')).toMatchObject({ state: 'retryable', errors: [{ message: 'out of paper' }] })
    expect(await said('give up')).toMatchObject({ state: 'failed', errors: [{ message: 'no such order' }] })
    expect(await said('snooze')).toMatchObject({ state: 'scheduled', errors: [] })
    const wrong = { state: 'failed', errors: [{ message: expect.stringContaining('do: Invalid type') }] }
    expect(await said('nonsense')).toMatchObject(wrong)
    const unknown = { state: 'retryable', errors: [{ message: 'No handler for the kind other' }] }
    expect(await said('return', 'other')).toMatchObject(unknown)
  })

  test('what a function with other keys refuses shows as its error, and the attempt stays open', async context => {
    const lambda = onLambda(context)
    const { database, send } = await invoking(context, lambda.url)
    const ended = ending(lambda, 'stranger')
    const id = await send('callback', 'stranger', { args: { do: 'return' } })
    const payload = expect.stringContaining('Not signed by a known key')
    expect(await ended()).toMatchObject({ error: 'Unhandled', payload })
    // Put on record a moment after Lambda has taken it.
    await expect.poll(() => database.job(id), { interval: 10 }).toMatchObject({ state: 'waiting_external' })
  })

  test('cancelled while it runs: the callback closes nothing any more', async context => {
    const lambda = onLambda(context)
    const { database, work, send } = await invoking(context, lambda.url)
    const ended = ending(lambda, 'jobs')
    const id = await send('callback', 'jobs', { args: { do: 'wait' } })
    await work.events.first({ type: 'parked', job: id })
    await database.sql`select millrace.cancel(array[${id}::bigint])`
    await ended()
    expect(await database.job(id)).toMatchObject({ state: 'cancelled', result: null })
  })
})

describe('without an answer of Lambda', () => {
  /** What becomes of a job whose endpoint is not Lambda's. */
  async function afterNone(context: TestContext, endpoint: string, mode: 'sync' | 'callback', options = {}) {
    const { work, send } = await invoking(context, endpoint, options)
    const id = await send(mode, 'plain')
    return work.events.first(event => 'job' in event && event.job === id && event.type !== 'dispatched')
  }

  test('nobody listens: the function has seen nothing, in either mode', async context => {
    const { host, close } = await listening(createServer())
    await close()
    for (const mode of ['sync', 'callback'] as const)
      expect(await afterNone(context, `http://${host}`, mode)).toMatchObject({ state: 'retryable', code: 'connect' })
  })

  test('the connection is lost: in callback mode the function may call back yet', async context => {
    const { host, close } = await listening(createServer(socket => socket.once('data', () => socket.destroy())))
    context.onTestFinished(close)
    const lost = { code: 'connection_lost' }
    expect(await afterNone(context, `http://${host}`, 'sync')).toMatchObject({ ...lost, state: 'retryable' })
    expect(await afterNone(context, `http://${host}`, 'callback')).toMatchObject({ ...lost, type: 'parked' })
  })

  test('no credentials, no invoker: put back until there are', async context => {
    const nobody = lambdaInvoker({ region, credentials: () => Promise.reject(new Error('no role')) })
    const unidentified = await afterNone(context, '', 'sync', { lambdaInvoker: nobody })
    expect(unidentified).toMatchObject({ state: 'available', code: 'identity_unavailable' })
    const without = await afterNone(context, '', 'sync', { lambdaInvoker: undefined })
    expect(without).toMatchObject({ state: 'available', code: 'no_lambda_invoker' })
  })

  test('given up by the dispatcher: a sync attempt is handed back', async context => {
    const lambda = onLambda(context)
    const { work, send } = await invoking(context, lambda.url)
    const ended = ending(lambda, 'slow')
    const begun = lambda.begun.of({ function: 'slow' }).length
    const id = await send('sync', 'slow', { args: { do: 'hang' } })
    await lambda.begun.until({ function: 'slow' }, begun + 1)
    await work.stop(0)
    expect(work.events.of({ type: 'closed', job: id })).toMatchObject([{ state: 'available' }])
    await ended()
  })
})

test('an ARN with an alias, in another region', async context => {
  const lambda = onLambda(context)
  const { afterOne } = await invoking(context, lambda.url)
  const fn = 'arn:aws:lambda:us-east-1:123456789012:function:jobs'
  const target = { lambda: { function: fn, qualifier: 'live' } }
  expect(await afterOne(fn, { args: { do: 'return' }, target })).toMatchObject({ state: 'completed' })
  const { qualifier, headers } = lambda.invoked.all.at(-1) ?? expect.fail('nothing was invoked')
  expect(qualifier).toBe('live')
  expect(headers.authorization).toContain(`Credential=${credentials.accessKeyId}/`)
  expect(headers.authorization).toContain('/us-east-1/lambda/aws4_request')
})

test('millrace tick --lambda, with what the environment has', async context => {
  const lambda = onLambda(context)
  const { database } = await invoking(context, lambda.url, { noDispatch: true })
  await database.declare([{ name: 'work_1', target: { lambda: { function: 'jobs' }, mode: 'sync' } }])
  const job = await database.enqueue('work_1', { do: 'return' })
  const env = {
    ...{ DATABASE_URL: database.url, MILLRACE_KEYS: formatKeyring(keyring), AWS_REGION: region },
    ...{ AWS_ENDPOINT_URL_LAMBDA: lambda.url, AWS_ACCESS_KEY_ID: 'AKID', AWS_SECRET_ACCESS_KEY: 'xyzzy' },
  }
  expect(await runCli(['tick'], { env })).toMatchObject({ status: 0 })
  expect(await database.job(job)).toMatchObject({ put_back: { code: 'no_lambda_invoker' } })
  await database.passTime()
  expect(await runCli(['tick', '--lambda'], { env })).toMatchObject({ status: 0 })
  expect(await database.job(job)).toMatchObject({ state: 'completed' })
})
