// All of Millrace on Lambda: the API, the callback ingress, scheduled ticks and the function, each under AWS's runtime client.

import { toSql } from 'millrace'
import { formatKeyring, generateWebhookSecret } from 'millrace/protocol'
import { afterAll, expect, type TestContext, test, vi } from 'vitest'
import { MaintenanceEngine } from '../../core/maintenance-engine.ts'
import { runCli } from '../support/cli.ts'
import { useDatabase } from '../support/database.ts'
import { keyring } from '../support/ingress.ts'
import { listening } from '../support/lambda/listening.ts'
import type { LocalFunction, LocalLambda } from '../support/lambda/local-lambda.ts'
import { credentials, ending, fixture } from '../support/lambda/use-invoked.ts'
import { useLambda } from '../support/lambda/use-lambda.ts'
import { functionUrlEvent, lambdaServer } from '../support/lambda-events.ts'
import { workOn } from '../support/maintenance.ts'
import { startWebhookEndpoint } from '../support/webhook-endpoint.ts'

vi.setConfig({ testTimeout: 60_000 })

const API_KEY = `mk_${'a'.repeat(43)}`
const shared = useDatabase()
let lambda: LocalLambda | undefined
const close: (() => Promise<void>)[] = []
afterAll(() => Promise.all(close.map(end => end())))

/** A function URL. */
async function urlOf(name: string): Promise<string> {
  const server = lambdaServer(functionUrlEvent, async event =>
    JSON.parse(((await lambda?.invoke(name, event)) ?? { payload: '{}' }).payload),
  )
  const { host, close: end } = await listening(server)
  close.push(end)
  return `http://${host}`
}

const urls = { callbacks: '', api: '' }

const onLambda = useLambda(async () => {
  urls.callbacks = await urlOf('callbacks')
  urls.api = await urlOf('api')
  const role = (file: string, env: Record<string, string> = {}, timeoutMs = 20_000): LocalFunction => ({
    code: `export { handler } from '${new URL(`../../functions/aws/${file}.ts`, import.meta.url)}'`,
    timeoutMs,
    env: { DATABASE_URL: shared.url, MILLRACE_KEYS: formatKeyring(keyring), ...env },
  })
  const tick = {
    ...{ MILLRACE_CALLBACK_URL: urls.callbacks, MILLRACE_ALLOW_TARGETS: 'loopback' },
    ...{ AWS_ACCESS_KEY_ID: credentials.accessKeyId, AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey },
  }
  return {
    jobs: fixture('receiver.ts'),
    slow: fixture('receiver.ts', { timeoutMs: 4_000 }),
    callbacks: role('callbacks'),
    api: role('api', { MILLRACE_API_KEYS: API_KEY }),
    tick: role('tick', tick),
    short: role('tick', tick, 6_000),
    misconfigured: role('callbacks', { MILLRACE_KEYS: '' }),
  }
})

/** Ticks once, as a schedule does; the answer. */
async function tick(name = 'tick') {
  const { payload, error } = (await lambda?.invoke(name, { source: 'aws.events' })) ?? expect.fail('no Lambda')
  if (error) throw new Error(payload)
  return JSON.parse(payload)
}

function started(context: TestContext) {
  const local = onLambda(context)
  lambda = local
  return { lambda: local, database: workOn(shared) }
}

const invoked = (mode: 'sync' | 'callback') => ({ lambda: { function: 'jobs' }, mode }) as const

test('a job from a transaction is invoked, calls back, and is told by webhook', async context => {
  const { lambda, database } = started(context)
  const secret = generateWebhookSecret()
  const endpoint = await startWebhookEndpoint(secret)
  const hook = { name: 'shop', url: endpoint.url, secret, kinds: ['work_1'] }
  await database.declare([{ name: 'work_1', target: invoked('callback') }], [hook])
  const rolledBack = database.sql.begin(async sql => {
    await sql`select millrace.enqueue('work_1', '{"do": "return"}')`
    throw new Error('out of stock')
  })
  await expect(rolledBack).rejects.toThrow('out of stock')
  const [row] = await database.sql.begin(sql => sql`select millrace.enqueue('work_1', '{"do": "return"}') as id`)
  const id = String(row?.id)
  const done = ending(lambda, 'jobs')
  expect(await tick()).toMatchObject({ claimed: 1, dispatched: 1, parked: 1, more: false })
  await done()
  expect(await database.job(id)).toMatchObject({ state: 'completed', result: { text: 'Größe' } })
  expect(lambda.invoked.of({ function: 'jobs' })).toMatchObject([{ type: 'Event', status: 202 }])
  await tick()
  expect(await endpoint.deliveries.first({})).toMatchObject({ event: { data: { job_id: Number(id) } } })
})

test('sync mode, a retry, and a cancel', async context => {
  const { lambda, database } = started(context)
  await database.declare([
    { name: 'work_2', target: invoked('sync') },
    { name: 'work_3', target: invoked('callback') },
  ])
  const failing = await database.enqueue('work_2', { do: 'throw' })
  await tick()
  await tick()
  expect(await database.job(failing)).toMatchObject({ state: 'completed', attempt: 2, errors: [{ code: 'http_500' }] })
  const waiting = await database.enqueue('work_3', { do: 'wait' })
  const ended = ending(lambda, 'jobs')
  await tick()
  await database.sql`select millrace.cancel(array[${waiting}::bigint])`
  await ended()
  expect(await database.job(waiting)).toMatchObject({ state: 'cancelled' })
  expect(lambda.logOf('tick')).toBe('')
})

test('the API behind a function URL', async context => {
  const { database } = started(context)
  const send = (authorization: string) =>
    fetch(`${urls.api}/api/jobs`, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body: JSON.stringify({ kind: 'work_2', args: { do: 'return' } }),
    })
  expect((await send('Bearer none')).status).toBe(401)
  const response = await send(`Bearer ${API_KEY}`)
  expect(response.status).toBe(201)
  const { id } = (await response.json()) as { id: string }
  await tick()
  expect(await database.job(String(id))).toMatchObject({ state: 'completed' })
})

test('ticks take turns: while one is at work, others end at once', async context => {
  const { database } = started(context)
  const engine = new MaintenanceEngine(toSql(database.sql))
  const id = await database.enqueue('work_2', { do: 'return' })
  await engine.lead('another', 30, 'scheduled tick')
  expect(await tick()).toEqual({ skipped: 'another one is at work' })
  expect(await database.job(id)).toMatchObject({ state: 'available' })
  const { stdout } = await runCli(['health', '--ticks', '--json'], { env: { DATABASE_URL: database.url } })
  expect(JSON.parse(stdout)).toMatchObject({ leader: null })
  await engine.resign('another', 'scheduled tick')
  expect(await tick()).toMatchObject({ claimed: 1 })
})

test("a tick ends before its function's time-out, and hands back what it waits for", async context => {
  const { lambda, database } = started(context)
  const target = { lambda: { function: 'slow' }, mode: 'sync', requestTimeoutSeconds: 60 } as const
  await database.declare([{ name: 'work_4', target }], [], 'slow')
  const ended = ending(lambda, 'slow')
  const id = await database.enqueue('work_4', { do: 'hang' })
  expect(await tick('short')).toMatchObject({ claimed: 1, dispatched: 1, closed: 0 })
  expect(await database.job(id)).toMatchObject({ state: 'available', attempt: 2, errors: [] })
  await database.sql`select millrace.cancel(array[${id}::bigint])`
  expect(await ended()).toMatchObject({ error: 'Unhandled' })
})

test('what is missing in the environment is an error of the function', async context => {
  const { lambda } = started(context)
  const { error, payload } = await lambda.invoke('misconfigured', { version: '2.0' })
  expect([error, payload]).toEqual(['Unhandled', expect.stringContaining('MILLRACE_KEYS is not set')])
})
