// The whole chain: enqueue → dispatcher → a function with the receiver SDK → callback ingress → webhook.

import { toSql } from 'millrace'
import type { ReceiverEvent } from 'millrace/function'
import {
  defineKind,
  type Handler,
  handle,
  type Job,
  NonRetryableError,
  RetryLaterError,
  SnoozeError,
  serve,
} from 'millrace/function'
import { deriveDispatchKeyring, formatKeyring, generateWebhookSecret } from 'millrace/protocol'
import * as v from 'valibot'
import { expect, onTestFinished, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { listen } from '../support/http-server.ts'
import { keyring, startIngress } from '../support/ingress.ts'
import { workOn } from '../support/maintenance.ts'
import { Recorder } from '../support/maintenance-recorder.ts'
import { startWebhookEndpoint } from '../support/webhook-endpoint.ts'

const shared = useDatabase()

const resize = defineKind({ name: 'resize', args: v.object({ width: v.number() }) })

const modes = ['sync', 'callback'] as const

interface ChainOptions {
  readonly mode: (typeof modes)[number]
  readonly heartbeatSeconds?: number
  readonly timeoutSeconds?: number
  readonly timeLimitSeconds?: number
  readonly maxAttempts?: number
}

/** Everything there is, with one function of the kind `resize`; answers once all of it runs. */
async function chain(run: (args: { width: number }, job: Job) => unknown, options: ChainOptions) {
  const { mode, timeoutSeconds = 30, timeLimitSeconds, maxAttempts = 5, heartbeatSeconds } = options
  const database = workOn(shared)
  const finished = new Recorder<ReceiverEvent>()
  const handlers: Handler[] = [handle(resize, run)]
  const receiver = serve({
    kinds: handlers,
    dispatchKeys: formatKeyring(deriveDispatchKeyring(keyring)),
    onEvent: finished.push,
    ...(heartbeatSeconds !== undefined && { heartbeatSeconds }),
  })
  const url = await listen(request => receiver.fetch(request))
  onTestFinished(receiver.drain)
  const secret = generateWebhookSecret()
  const app = await startWebhookEndpoint(secret)
  const ingress = await startIngress(toSql(database.sql), { compatible: false })
  const times = mode === 'sync' ? { requestTimeoutSeconds: timeoutSeconds } : { callbackTimeoutSeconds: timeoutSeconds }
  await database.declare(
    [
      {
        name: 'resize',
        maxAttempts,
        ...(timeLimitSeconds && { timeLimitSeconds }),
        target: { url: `${url}/jobs?by=millrace`, mode, ...times },
      },
    ],
    [{ name: 'app', url: app.url, secret }],
  )
  const work = await database.maintain({ listen: true, callbackUrl: ingress.url, compatible: false })
  /** Enqueues, and resolves with the job once the application has heard of its end. */
  const end = async (args: unknown = { width: 8 }) => {
    const id = await database.enqueue('resize', args)
    await app.deliveries.first(({ event }) => event.data.job_id === Number(id))
    return database.job(id)
  }
  return { database, work, finished, app, end }
}

test.each(modes)('%s mode: the result of the handler is the result of the job', async mode => {
  const { end, app } = await chain(({ width }) => ({ height: 2 * width }), { mode })
  expect(await end()).toMatchObject({ state: 'completed', attempt: 1, result: { height: 16 } })
  expect(app.deliveries.all[0]?.event).toMatchObject({ type: 'job.completed', data: { result: { height: 16 } } })
})

test.each(modes)('%s mode: what the handler throws is retried; a NonRetryableError is the end', async mode => {
  const { end } = await chain(
    (_, { attempt }) => {
      throw attempt < 3 ? new Error('not yet') : new NonRetryableError('never')
    },
    { mode },
  )
  const job = await end()
  expect(job).toMatchObject({ state: 'failed', attempt: 3 })
  expect(job.errors.map(({ message }) => message?.match(/not yet|never/)?.[0])).toEqual(['not yet', 'not yet', 'never'])
})

test.each(modes)('%s mode: arguments that do not fit the schema fail the job at once', async mode => {
  const { end } = await chain(() => 'unreached', { mode })
  expect(await end({ width: 'wide' })).toMatchObject({ state: 'failed', attempt: 1, errors: [{ code: 'http_422' }] })
})

test.each(modes)('%s mode: a RetryLaterError puts the job back, which costs no attempt', async mode => {
  const { end } = await chain(
    (_, { attempt }) => {
      if (attempt === 1) throw new RetryLaterError(1)
      return 'later'
    },
    { mode, maxAttempts: 1 },
  )
  expect(await end()).toMatchObject({ state: 'completed', attempt: 2, max_attempts: 2, errors: [], result: 'later' })
})

test.each(modes)('%s mode: a SnoozeError puts the job off, and nothing has failed', async mode => {
  const { end } = await chain(
    (_, { attempt }) => {
      if (attempt === 1) throw new SnoozeError(1)
      return 'later'
    },
    { mode, maxAttempts: 1 },
  )
  const job = await end()
  expect(job).toMatchObject({ state: 'completed', attempt: 2, max_attempts: 2, errors: [], result: 'later' })
  expect(job.put_back).toBeNull()
})

test('progress is seen from outside while the function works, and handed to the next attempt', async () => {
  const seen: unknown[] = []
  const reported = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  const { database, work } = await chain(
    async (_, job) => {
      seen.push(job.progress?.metadata)
      if (job.attempt === 2) return 'resumed'
      await job.setProgress({ percent: 40, message: 'page 4', metadata: { page: 4 } })
      reported.resolve()
      await goOn.promise
      throw new Error('out of paper')
    },
    { mode: 'callback' },
  )
  const id = await database.enqueue('resize', { width: 8 })
  await reported.promise
  await work.events.until({ type: 'parked', job: id })
  expect(await database.job(id)).toMatchObject({
    state: 'waiting_external',
    progress: { percent: 40, message: 'page 4' },
  })
  goOn.resolve()
  await work.events.until({ type: 'closed', kind: 'millrace.webhook' })
  expect(await database.job(id)).toMatchObject({ state: 'completed', attempt: 2, result: 'resumed' })
  expect(seen).toEqual([undefined, { page: 4 }])
})

test('heartbeats carry an attempt beyond its time-out', async () => {
  const { end } = await chain(
    async (_, job) => {
      const first = job.deadline.getTime()
      while (Date.now() <= first + 300) await new Promise(resolve => setTimeout(resolve, 50))
      return job.signal.aborted
    },
    { mode: 'callback', timeoutSeconds: 1, heartbeatSeconds: 0.3 },
  )
  expect(await end()).toMatchObject({ state: 'completed', attempt: 1, result: false })
})

test.each(modes)('%s mode: at the deadline the signal fires and the job is tried again', async mode => {
  const aborted = new Recorder<{ attempt: number; code: unknown }>()
  const { database, work } = await chain(
    async (_, { attempt, signal }) => {
      if (attempt === 2) return 'in time'
      await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve()))
      aborted.push({ attempt, code: signal.reason.code })
      throw signal.reason
    },
    { mode, timeoutSeconds: 0.3 },
  )
  const id = await database.enqueue('resize', { width: 8 })
  expect(await aborted.first({})).toEqual({ attempt: 1, code: 'deadline_exceeded' })
  await work.events.until({ type: 'closed', kind: 'millrace.webhook' })
  expect(await database.job(id)).toMatchObject({ state: 'completed', attempt: 2, result: 'in time' })
})

test.each(modes)('%s mode: the time limit of a kind ends an attempt, whatever it does', async mode => {
  const codes: unknown[] = []
  const over = Promise.withResolvers<void>()
  const { end } = await chain(
    async (_, { attempt, signal }) => {
      if (attempt === 2) return 'in time'
      await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve()))
      codes.push(signal.reason.code)
      await over.promise
    },
    { mode, timeoutSeconds: 30, timeLimitSeconds: 0.5, heartbeatSeconds: 0.1 },
  )
  const job = await end().finally(over.resolve)
  expect(codes).toEqual(['deadline_exceeded'])
  expect(job).toMatchObject({ state: 'completed', attempt: 2, errors: [{ attempt: 1, code: 'deadline_exceeded' }] })
})

test('a running job that is cancelled learns of it from its heartbeats, and its result is refused', async () => {
  const started = Promise.withResolvers<void>()
  const { database, work, finished } = await chain(
    async (_, { signal }) => {
      started.resolve()
      await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve()))
      throw signal.reason
    },
    { mode: 'callback', heartbeatSeconds: 0.05 },
  )
  const id = await database.enqueue('resize', { width: 8 })
  await started.promise
  await work.events.until({ type: 'parked', job: id })
  await database.sql`select * from millrace.cancel(array[${id}]::bigint[], 'no longer wanted')`
  expect(await finished.first({ type: 'finished', jobId: id })).toMatchObject({
    ending: { kind: 'failed', code: 'cancelled' },
    conclusion: 'closed_elsewhere',
  })
  expect(await database.job(id)).toMatchObject({
    state: 'cancelled',
    attempt: 1,
    errors: [{ code: 'cancelled', message: 'no longer wanted' }],
  })
})
