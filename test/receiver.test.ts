// The receiver SDK over real HTTP: what it runs, what it refuses, and what it tells the dispatcher.

import fc from 'fast-check'
import { NonRetryableError, RetryLaterError, SnoozeError, serve } from 'millrace/function'
import { describe, expect, test } from 'vitest'
import { dispatchKeys, dispatchRequest, resize, resizing, startFunction, startIngress } from './support/function.ts'

describe('sync mode', () => {
  const answerOf = async (run: () => unknown) => {
    const { send } = await startFunction([resizing(run)])
    const response = await send()
    return { status: response.status, headers: response.headers, text: await response.text() }
  }

  test('answers 200 with the result', async () => {
    const { send } = await startFunction([resizing(({ width }) => ({ area: width ** 2 }))])
    const response = await send()
    expect([response.status, await response.json()]).toEqual([200, { area: 64 }])
  })

  test('answers 200 without a body when there is no result', async () => {
    expect(await answerOf(() => undefined)).toMatchObject({ status: 200, text: '' })
  })

  test('an error is a 500 that may be retried', async () => {
    const answer = await answerOf(() => Promise.reject(new Error('out of paper')))
    expect(answer).toMatchObject({ status: 500, text: '{"error":"out of paper"}' })
    expect(answer.headers.get('millrace-no-retry')).toBeNull()
  })

  test('a NonRetryableError is a 500 that says so', async () => {
    const answer = await answerOf(() => Promise.reject(new NonRetryableError('no such order')))
    expect(answer).toMatchObject({ status: 500, text: '{"error":"no such order","code":"non_retryable"}' })
    expect(answer.headers.get('millrace-no-retry')).toBe('true')
  })

  test('a RetryLaterError is a 503 with Retry-After, so it costs no attempt', async () => {
    const answer = await answerOf(() => Promise.reject(new RetryLaterError(7.2)))
    expect(answer.status).toBe(503)
    expect(answer.headers.get('retry-after')).toBe('8')
  })

  test('a SnoozeError is a 202 with Millrace-Snooze, so it is no failure', async () => {
    const answer = await answerOf(() => Promise.reject(new SnoozeError(7.2)))
    expect(answer.status).toBe(202)
    expect(answer.headers.get('millrace-snooze')).toBe('8')
    expect(() => new SnoozeError(Number.NaN)).toThrow(RangeError)
  })

  test('a result that JSON cannot hold is final, since doing it again gives the same', async () => {
    const answer = await answerOf(() => 1n)
    expect(answer.status).toBe(500)
    expect(answer.headers.get('millrace-no-retry')).toBe('true')
  })

  test.each([undefined, null, 'text', Object.create(null)])('whatever is thrown becomes an error: %o', async thrown => {
    expect((await answerOf(() => Promise.reject(thrown))).status).toBe(500)
  })
})

describe('what the handler is told', () => {
  test('everything the dispatch says about the job', async () => {
    const { send } = await startFunction([
      resizing((args, job) => {
        const { id, kind, queue, attempt, maxAttempts, idempotencyKey, metadata, progress } = job
        const times = [job.deadline.getTime() > Date.now(), job.enqueuedAt.toISOString()]
        return { args, id, kind, queue, attempt, maxAttempts, idempotencyKey, metadata, progress, times }
      }),
    ])
    const body = { attempt: 3, metadata: { shop: 1 }, progress: { percent: 50, metadata: { page: 2 } } }
    const response = await send({ body })
    expect(await response.json()).toEqual({
      args: { width: 8 },
      id: '42',
      kind: 'resize',
      queue: 'images',
      attempt: 3,
      maxAttempts: 5,
      idempotencyKey: 'millrace-42',
      metadata: { shop: 1 },
      progress: { percent: 50, metadata: { page: 2 } },
      times: [true, '2026-01-01T00:00:00.000Z'],
    })
  })

  test('the signal fires at the deadline', async () => {
    const { send } = await startFunction([resizing((_, job) => reasonOf(job.signal))])
    expect(await (await send({ deadlineMs: 30 })).json()).toBe('deadline_exceeded')
  })

  test('in sync mode heartbeats and progress stay in the function', async () => {
    const { send } = await startFunction([
      resizing(async (_, job) => {
        await job.heartbeat()
        await job.setProgress({ percent: 10 })
        return job.progress
      }),
    ])
    expect(await (await send()).json()).toEqual({ percent: 10 })
  })
})

describe('refusals', () => {
  const refusing = async (request: (url: string) => Request, options = {}) => {
    const ran: unknown[] = []
    const { url } = await startFunction([resizing(args => ran.push(args))], options)
    const response = await fetch(request(url))
    expect(ran).toEqual([])
    return { status: response.status, headers: response.headers, body: await response.json() }
  }
  const changed = (url: string, change: RequestInit, path = '/jobs') => {
    const { method, headers } = dispatchRequest(url)
    return new Request(`${url}${path}`, { method, headers, body: '{}', ...change })
  }

  test.each([
    ['without a signature', (url: string) => changed(url, { headers: {} })],
    ['with another body', (url: string) => changed(url, { body: '{"job_id":42}' })],
    ['for another path', (url: string) => new Request(`${url}/other`, dispatchRequest(url))],
    ['with another query', (url: string) => new Request(`${url}/jobs?x`, dispatchRequest(url))],
  ])('a dispatch %s is not run, nor is the job given up for it', async (_, request) => {
    const { status, headers, body } = await refusing(request)
    expect([status, body.code]).toEqual([401, 'invalid_signature'])
    expect(headers.get('millrace-no-retry')).toBe('false')
  })

  test('a dispatch signed long ago is not run', async () => {
    const { status, headers, body } = await refusing(url => dispatchRequest(url, { now: Date.now() - 301_000 }))
    expect([status, body.code]).toEqual([401, 'stale_timestamp'])
    expect(headers.get('millrace-no-retry')).toBe('false')
  })

  test('an unknown kind is answered 501, which is retried until the function knows it', async () => {
    const { status, body } = await refusing(url => dispatchRequest(url, { body: { kind: 'enlarge' } }))
    expect([status, body.code]).toEqual([501, 'unknown_kind'])
  })

  test('wrong arguments are final and come back with the issues, in callback mode too', async () => {
    for (const ingress of [undefined, 'http://127.0.0.1:9']) {
      const { status, body } = await refusing(url => dispatchRequest(url, { ingress, body: { args: { width: 'a' } } }))
      expect([status, body.code]).toEqual([422, 'invalid_args'])
      expect(body.issues[0].path[0].key).toBe('width')
    }
  })

  test('a body over the limit is not read to its end', async () => {
    const { status, body } = await refusing(url => dispatchRequest(url, { body: { args: 'x'.repeat(2000) } }), {
      maxBodyBytes: 1000,
    })
    expect([status, body.code]).toEqual([413, 'body_too_large'])
  })

  test('anything but POST is refused', async () => {
    const { status, headers } = await refusing(url => new Request(`${url}/jobs`))
    expect([status, headers.get('allow')]).toEqual([405, 'POST'])
  })

  test('what is no dispatch is refused even when signatures are not asked for', async () => {
    for (const text of ['', '{', '[]', 'null', '{"job_id":"42"}', '{"job_id":1,"kind":"resize"}']) {
      const options = { dispatchKeys: undefined, allowUnsigned: true }
      const { status, body } = await refusing(url => new Request(url, { method: 'POST', body: text }), options)
      expect([status, body.code]).toEqual([400, 'invalid_request'])
    }
  })

  test('what is not signed is run for nobody but this machine, where signatures are not asked for', async () => {
    const ran: string[] = []
    const receiver = serve({ kinds: [resizing((_, job) => ran.push(job.id))], allowUnsigned: true })
    const status = async (url: string, env?: unknown) => (await receiver.fetch(dispatchRequest(url), env)).status
    expect(await status('http://fn.example.com')).toBe(401)
    expect(await status('http://localhost', { incoming: { socket: { remoteAddress: '198.51.100.7' } } })).toBe(401)
    expect(ran).toEqual([])
    expect(await status('http://127.0.0.1:8080', { incoming: { socket: { remoteAddress: '127.0.0.1' } } })).toBe(200)
  })

  test('callbacks go nowhere but where the callback id stands in the URL', async () => {
    const body = { callback_url: 'http://127.0.0.1:9/elsewhere/complete' }
    const { status } = await refusing(url => dispatchRequest(url, { ingress: 'http://127.0.0.1:9', body }))
    expect(status).toBe(400)
  })

  test('no request that the dispatcher did not sign is ever run, nor does any break the function', async () => {
    const ran: unknown[] = []
    const receiver = serve({ kinds: [resizing(args => ran.push(args))], dispatchKeys })
    const signature = fc.oneof(fc.stringMatching(/^t=[0-9]{10},kid=k1,v1=[0-9a-f]{64}$/), fc.stringMatching(/^[ -~]*$/))
    const requests = fc.record({ body: fc.oneof(fc.string(), fc.json()), signature, path: fc.webPath() })
    await fc.assert(
      fc.asyncProperty(requests, async ({ body, signature, path }) => {
        const headers = { 'millrace-signature': signature }
        const request = new Request(`http://localhost/${path}`, { method: 'POST', headers, body })
        expect((await receiver.fetch(request)).status).toBe(401)
      }),
    )
    expect(ran).toEqual([])
  })
})

describe('configuration', () => {
  const kinds = [resizing(() => 'done')]
  const refused = (code: string) => expect.objectContaining({ code })

  test('fails closed: no keys, no receiver', () => {
    expect(() => serve({ kinds })).toThrow(refused('invalid_configuration'))
    expect(() => serve({ kinds, dispatchKeys: 'k1:abc' })).toThrow(refused('invalid_keyring'))
  })

  test('a kind has one handler', () => {
    expect(() => serve({ kinds: [...kinds, ...kinds], dispatchKeys })).toThrow(refused('invalid_configuration'))
    expect(resize.name).toBe('resize')
  })

  test('keys may come from the environment of each request, as on Workers', async () => {
    const receiver = serve({ kinds, dispatchKeys: (env: { KEYS: string }) => env.KEYS })
    const request = () => dispatchRequest('http://localhost')
    expect((await receiver.fetch(request(), { KEYS: dispatchKeys })).status).toBe(200)
    expect((await receiver.fetch(request(), { KEYS: `k1:${'00'.repeat(32)}` })).status).toBe(401)
    await expect(receiver.fetch(request(), {})).rejects.toThrow(refused('invalid_keyring'))
  })

  test('a proxy that cuts the path can be made up for', async () => {
    const { url } = await startFunction(kinds, { pathPrefix: '/stage' })
    const { method, headers, body } = dispatchRequest(url, { path: '/stage/jobs' })
    const response = await fetch(`${url}/jobs`, { method, headers, body, duplex: 'half' } as RequestInit)
    expect(response.status).toBe(200)
  })
})

describe('load', () => {
  test('over the limit jobs are put off with 429, and run once there is room', async () => {
    const gate = Promise.withResolvers<void>()
    const { send } = await startFunction([resizing(() => gate.promise)], { concurrency: 1 })
    const ingress = await startIngress()
    expect((await send({ ingress: ingress.url })).status).toBe(202)
    const busy = await send({ body: { job_id: 43 } })
    expect([busy.status, busy.headers.get('retry-after')]).toEqual([429, '1'])
    gate.resolve()
    await ingress.count(1)
  })

  test('a repeated dispatch of a running attempt is accepted and not run again', async () => {
    const gate = Promise.withResolvers<void>()
    let runs = 0
    const { send, receiver } = await startFunction([
      resizing(() => {
        runs++
        return gate.promise
      }),
    ])
    const ingress = await startIngress()
    const answers = await Promise.all([send({ ingress: ingress.url }), send({ ingress: ingress.url })])
    expect(answers.map(({ status }) => status)).toEqual([202, 202])
    gate.resolve()
    await receiver.idle()
    expect([runs, ingress.received.length]).toEqual([1, 1])
  })

  test('drain finishes what was accepted and puts off the rest', async () => {
    const gate = Promise.withResolvers<void>()
    const { send, receiver } = await startFunction([resizing(() => gate.promise)])
    const ingress = await startIngress()
    await send({ ingress: ingress.url })
    const drained = receiver.drain()
    const late = await send({ ingress: ingress.url, body: { job_id: 43 } })
    expect([late.status, late.headers.get('retry-after')]).toEqual([503, '1'])
    gate.resolve()
    await drained
    expect(ingress.received).toEqual([{ action: 'complete', body: {} }])
  })
})

/** Resolves with the code of the reason once the signal fires. */
const reasonOf = (signal: AbortSignal): Promise<string> =>
  new Promise(resolve => {
    if (signal.aborted) resolve(signal.reason.code)
    signal.addEventListener('abort', () => resolve(signal.reason.code))
  })
