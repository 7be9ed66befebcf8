// The receiver SDK in callback mode: how it ends an attempt, keeps it alive, and does not give up on an ingress.

import { type Job, NonRetryableError, type ReceiverEvent, RetryLaterError, SnoozeError } from 'millrace/function'
import { describe, expect, test } from 'vitest'
import { dispatchRequest, resizing, startFunction, startIngress } from './support/function.ts'

const status = (status: number, headers = {}) => Response.json({ error: 'no' }, { status, headers })

describe('how an attempt ends', () => {
  const callbackOf = async (run: (args: { width: number }, job: Job) => unknown) => {
    const ingress = await startIngress()
    const { send, receiver } = await startFunction([resizing(run)])
    expect((await send({ ingress: ingress.url })).status).toBe(202)
    await receiver.idle()
    return ingress.received
  }

  test('the answer does not wait for the work', async () => {
    const gate = Promise.withResolvers<string>()
    const ingress = await startIngress()
    const { send } = await startFunction([resizing(() => gate.promise)])
    expect((await send({ ingress: ingress.url })).status).toBe(202)
    expect(ingress.received).toEqual([])
    gate.resolve('done')
    await ingress.count(1)
    expect(ingress.received).toEqual([{ action: 'complete', body: { payload: 'done' } }])
  })

  test('a failure always says whether it may be retried', async () => {
    expect(await callbackOf(() => Promise.reject(new Error('out of paper')))).toEqual([
      { action: 'fail', body: { error: 'out of paper', retryable: true } },
    ])
    expect(await callbackOf(() => Promise.reject(new NonRetryableError('no such order')))).toEqual([
      { action: 'fail', body: { error: 'no such order', retryable: false } },
    ])
    expect(await callbackOf(() => Promise.reject(new RetryLaterError(30, 'throttled')))).toEqual([
      { action: 'fail', body: { error: 'throttled', retryable: true, retry_after_seconds: 30 } },
    ])
  })

  test('a snooze is told as one, after the progress that could not be sent', async () => {
    const ingress = await startIngress((_, nth) => (nth === 1 ? status(422) : undefined))
    const work = async (_: unknown, job: Job) => {
      await job.setProgress({ metadata: { page: 3 } })
      throw new SnoozeError(90)
    }
    const { send, receiver } = await startFunction([resizing(work)])
    await send({ ingress: ingress.url })
    await receiver.idle()
    expect(ingress.received.slice(1)).toEqual([
      { action: 'heartbeat', body: { timeout_seconds: expect.any(Number), progress: { metadata: { page: 3 } } } },
      { action: 'fail', body: { snooze_seconds: 90 } },
    ])
  })

  test('where the platform has a waitUntil, it is told of the work', async () => {
    const ingress = await startIngress()
    const { receiver, url } = await startFunction([resizing(() => 'done')])
    const work: Promise<unknown>[] = []
    const ctx = { waitUntil: (promise: Promise<unknown>) => void work.push(promise) }
    await receiver.fetch(dispatchRequest(url, { ingress: ingress.url }), {}, ctx)
    await Promise.all(work)
    expect(ingress.received).toHaveLength(1)
  })
})

describe('an ingress that does not take the callback', () => {
  const run = async (answer: Parameters<typeof startIngress>[0], options = {}) => {
    const events: ReceiverEvent[] = []
    const ingress = await startIngress(answer)
    const onEvent = (event: ReceiverEvent) => events.push(event)
    const { send, receiver, delays } = await startFunction([resizing(() => 'done')], { onEvent, ...options })
    await send({ ingress: ingress.url })
    await receiver.idle()
    const conclusion = events.map(event => (event.type === 'finished' ? event.conclusion : event.code))
    return { received: ingress.received, delays, conclusion }
  }

  test.each([500, 502, 503, 408, 429])('is tried again after %i', async code => {
    const { received, conclusion } = await run((_, nth) => (nth < 3 ? status(code) : undefined))
    expect(received.map(({ action }) => action)).toEqual(['complete', 'complete', 'complete'])
    expect(conclusion).toEqual(['recorded'])
  })

  test('is tried again with growing delays, and not before it said', async () => {
    const { delays } = await run((_, nth) =>
      nth < 6 ? status(503, nth === 5 ? { 'retry-after': '7' } : {}) : undefined,
    )
    const floors = [125, 250, 500, 1000, 7000]
    expect(delays).toHaveLength(floors.length)
    for (const [i, floor] of floors.entries()) expect(delays[i]).toBeGreaterThanOrEqual(floor)
    for (const [i, floor] of floors.slice(0, 4).entries()) expect(delays[i]).toBeLessThanOrEqual(2 * floor)
  })

  test.each([
    [409, 'closed_elsewhere'],
    [404, 'closed_elsewhere'],
    [401, 'undelivered'],
  ])('is not asked again after %i', async (code, expected) => {
    const { received, conclusion } = await run(() => status(code))
    expect(received).toHaveLength(1)
    expect(conclusion).toEqual([expected])
  })

  test('that knows no snooze gets a failure that is retried', async () => {
    const ingress = await startIngress((_, nth) => (nth === 1 ? status(422) : undefined))
    const { send, receiver } = await startFunction([resizing(() => Promise.reject(new SnoozeError(90)))])
    await send({ ingress: ingress.url })
    await receiver.idle()
    expect(ingress.received[1]).toEqual({ action: 'fail', body: { error: expect.any(String), retryable: true } })
  })

  test('that refuses the result gets a final failure, lest the work be done over and over', async () => {
    const { received, conclusion } = await run(({ action }) => (action === 'complete' ? status(422) : undefined))
    expect(received[1]).toEqual({ action: 'fail', body: { error: expect.any(String), retryable: false } })
    expect(conclusion).toEqual(['recorded'])
  })

  test('for which the result is too large is told that there is one', async () => {
    const { received, conclusion } = await run((_, nth) => (nth === 1 ? status(413) : undefined))
    expect(received[1]).toEqual({ action: 'complete', body: { payload_too_large: true } })
    expect(conclusion).toEqual(['recorded'])
  })

  test('is given up some time after the deadline', async () => {
    const { received, conclusion, delays } = await run(() => status(503, { 'retry-after': '91' }))
    expect([received.length, conclusion, delays]).toEqual([1, ['undelivered'], []])
  })

  test('may be unreachable at first', async () => {
    const ingress = await startIngress()
    const { send, receiver } = await startFunction([resizing(() => 'done')], {
      port: await flakyPort(),
    })
    await send({ ingress: ingress.url })
    await receiver.idle()
    expect(ingress.received).toHaveLength(1)
  })
})

describe('heartbeats', () => {
  /** Runs one job with a handler that is given the job, and answers what the handler returned. */
  const inJob = async <T>(
    work: (job: Job) => Promise<T>,
    answer?: Parameters<typeof startIngress>[0],
    options: Parameters<typeof startFunction>[1] = {},
    deadlineMs = 60_000,
  ) => {
    const result = Promise.withResolvers<T>()
    const ingress = await startIngress(answer)
    const handler = resizing((_, job) =>
      work(job)
        .then(result.resolve, result.reject)
        .then(() => result.promise),
    )
    const { send, receiver } = await startFunction([handler], options)
    await send({ ingress: ingress.url, deadlineMs })
    const value = await result.promise.finally(receiver.idle)
    return { value, received: ingress.received }
  }
  const state = (body: object) => (callback: { action: string }) =>
    callback.action === 'heartbeat' ? Response.json({ id: 'x', ...body }) : undefined

  test('move the deadline as far ahead as the dispatch did, or as far as asked', async () => {
    const { value, received } = await inJob(async job => {
      await job.heartbeat()
      const usual = job.deadline.getTime() - Date.now()
      await job.heartbeat({ timeoutSeconds: 600 })
      return [usual, job.deadline.getTime() - Date.now()]
    })
    expect(received.slice(0, 2).map(({ body }) => body.timeout_seconds)).toEqual([60, 600])
    expect(value[0]).toSatisfy((ms: number) => ms > 50_000 && ms <= 60_000)
    expect(value[1]).toSatisfy((ms: number) => ms > 590_000 && ms <= 600_000)
  })

  test('move the deadline no further than the ingress says', async () => {
    const { value } = await inJob(
      async job => {
        await job.heartbeat({ timeoutSeconds: 600 })
        return job.deadline.getTime() - Date.now()
      },
      state({ state: 'waiting_external', timeout_seconds: 5 }),
    )
    expect(value).toSatisfy((ms: number) => ms > 0 && ms <= 5_000)
  })

  test('of which nothing is left end the attempt at once', async () => {
    const { value } = await inJob(
      async job => {
        const aborted = new Promise(resolve => job.signal.addEventListener('abort', resolve))
        await job.heartbeat()
        await aborted
        return job.signal.reason.code
      },
      state({ state: 'waiting_external', timeout_seconds: 0 }),
    )
    expect(value).toBe('deadline_exceeded')
  })

  test('that are sent on their own learn of a cancellation, whatever the handler does', async () => {
    const { value, received } = await inJob(
      async job => {
        await new Promise(resolve => job.signal.addEventListener('abort', resolve))
        return job.signal.reason
      },
      (callback, nth) =>
        state(nth < 3 ? { state: 'waiting_external' } : { state: 'cancelled', cancel: true })(callback),
      { heartbeatSeconds: 0.01 },
    )
    expect(value).toMatchObject({ name: 'MillraceError', code: 'cancelled' })
    expect(received.map(({ action }) => action)).toEqual(['heartbeat', 'heartbeat', 'heartbeat'])
  })

  test('learn of a cancellation, after which nothing more is said', async () => {
    const { value, received } = await inJob(
      async job => {
        await job.heartbeat()
        return job.signal.reason.code
      },
      state({ state: 'cancelled', cancel: true }),
    )
    expect(value).toBe('cancelled')
    expect(received.map(({ action }) => action)).toEqual(['heartbeat'])
  })

  test.each([409, 404])('learn from %i that the attempt is over', async code => {
    const { value, received } = await inJob(
      async job => {
        await job.heartbeat()
        return job.signal.reason.code
      },
      () => status(code),
    )
    expect([value, received.length]).toEqual(['attempt_closed', 1])
  })

  test('that do not get through are an error, and the attempt goes on', async () => {
    const { value } = await inJob(
      job => job.heartbeat().catch(error => [error.code, job.signal.aborted]),
      ({ action }) => (action === 'heartbeat' ? status(422) : undefined),
    )
    expect(value).toEqual(['callback_undelivered', false])
  })

  test('can be automatic', async () => {
    const beaten = Promise.withResolvers<void>()
    const { received } = await inJob(
      () => beaten.promise,
      ({ action }, nth) => {
        if (action === 'heartbeat' && nth === 3) beaten.resolve()
        return undefined
      },
      { heartbeatSeconds: 0.005 },
    )
    expect(received.at(-1)?.action).toBe('complete')
  })

  test('stop with the deadline, and the failure is still told', async () => {
    const { value, received } = await inJob(
      job =>
        new Promise<string>(resolve => job.signal.addEventListener('abort', () => resolve(job.signal.reason.code))),
      undefined,
      {},
      30,
    )
    expect(value).toBe('deadline_exceeded')
    expect(received).toEqual([{ action: 'complete', body: { payload: 'deadline_exceeded' } }])
  })

  test('carry progress, merged, and calls made meanwhile share one', async () => {
    const { value, received } = await inJob(async job => {
      await Promise.all([
        job.setProgress({ percent: 10, metadata: { page: 1 } }),
        job.setProgress({ message: 'half', metadata: { part: 'a' } }),
      ])
      await job.heartbeat()
      return job.progress
    })
    const all = { percent: 10, message: 'half', metadata: { page: 1, part: 'a' } }
    expect(value).toEqual(all)
    expect(received.map(({ body }) => body.progress)).toEqual([all, undefined, undefined])
  })

  test('progress that could not be sent goes ahead of the failure, for the next attempt', async () => {
    const ingress = await startIngress((_, nth) => (nth === 1 ? status(422) : undefined))
    const { send, receiver } = await startFunction([
      resizing(async (_, job) => {
        await job.setProgress({ metadata: { page: 7 } })
        throw new Error('out of paper')
      }),
    ])
    await send({ ingress: ingress.url })
    await receiver.idle()
    expect(ingress.received.map(({ action }) => action)).toEqual(['heartbeat', 'heartbeat', 'fail'])
    expect(ingress.received[1]?.body.progress).toEqual({ metadata: { page: 7 } })
  })
})

/** The platform's port, but the first connection fails. */
async function flakyPort() {
  const { platformPort } = await import('../core/function/port.ts')
  let calls = 0
  return {
    ...platformPort,
    sleep: (ms: number, signal?: AbortSignal) => (signal ? platformPort.sleep(ms, signal) : Promise.resolve()),
    fetch: (url: string, init: RequestInit) => platformPort.fetch(calls++ === 0 ? 'http://127.0.0.1:1/' : url, init),
  }
}
