// Signatures cover the path as it was asked for; functions are mounted, and sit behind what rewrites paths and reads bodies.

import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { Hono } from 'hono'
import {
  honoDispatch,
  honoReceiver,
  Refused,
  serve,
  verifyDispatchMessage,
  verifyDispatchRequest,
} from 'millrace/function'
import { nodeDispatch, nodeListener } from 'millrace/node'
import { describe, expect, test } from 'vitest'
import { dispatchKeys, dispatchRequest, resizing, startIngress } from '../support/function.ts'
import { listen, listenNode } from '../support/http-server.ts'
import { sendRaw } from '../support/raw-http.ts'

const dispatch = JSON.stringify({ job_id: 42, kind: 'resize', args: { width: 8 }, attempt: 1, max_attempts: 5 })
const receiver = () => serve({ kinds: [resizing(({ width }) => width ** 2)], dispatchKeys })

/** The status that a server gives a dispatch that was signed for this path. */
const asked = async (base: string, path: string, change: { path?: string } = {}) => {
  const { status } = await sendRaw(base, { path, signedPath: path, body: [dispatch], ...change })
  return status
}

describe('Hono', () => {
  const verifying = (options = {}) =>
    new Hono().post('/jobs', honoDispatch({ dispatchKeys, ...options }), c => c.text(c.get('dispatch').jobId))

  test('a route below a base path knows the whole path', async () => {
    const base = await listen(new Hono().route('/app', verifying()).fetch)
    expect(await asked(base, '/app/jobs')).toBe(200)
    expect(await asked(base, '/app/jobs?shop=1&a=%2F')).toBe(200)
    expect(await asked(base, '/jobs', { path: '/app/jobs' })).toBe(401)
  })

  test('what is mounted is told a shorter path, and has to be told the rest', async () => {
    const told = await listen(new Hono().mount('/app', verifying({ pathPrefix: '/app' }).fetch).fetch)
    expect(await asked(told, '/app/jobs')).toBe(200)
    const untold = await listen(new Hono().mount('/app', verifying().fetch).fetch)
    expect(await asked(untold, '/app/jobs')).toBe(401)
  })

  test('behind a proxy that cuts off a part of the path', async () => {
    const behind = await listen(verifying({ pathPrefix: '/fn' }).fetch)
    const proxy = await listen(request =>
      fetch(request.url.replace(new URL(request.url).origin, behind).replace('/fn', ''), {
        method: 'POST',
        headers: { 'millrace-signature': request.headers.get('millrace-signature') ?? '' },
        body: request.body,
        duplex: 'half',
      } as RequestInit),
    )
    expect(await asked(proxy, '/fn/jobs?x=1')).toBe(200)
    expect(await asked(behind, '/jobs')).toBe(401)
  })

  test('keys from the platform, and none of them', async () => {
    const env = { KEYS: dispatchKeys }
    const app = new Hono<{ Bindings: typeof env }>()
    app.post('/jobs', honoDispatch({ dispatchKeys: ({ KEYS }: typeof env) => KEYS }), c => c.text('ok'))
    expect(await asked(await listen(request => app.fetch(request, env)), '/jobs')).toBe(200)
    expect(await asked(await listen(request => app.fetch(request, { KEYS: '' })), '/jobs')).toBe(500)
    expect(() => honoDispatch({ dispatchKeys: undefined } as never)).toThrow(
      expect.objectContaining({ code: 'invalid_configuration' }),
    )
  })

  test.each(['text', 'json', 'arrayBuffer', 'blob'] as const)('a receiver behind one that has read %s', async how => {
    const app = new Hono().use((c, next) => c.req[how]().then(next)).post('/jobs', honoReceiver(receiver()))
    const { status, body } = await sendRaw(await listen(app.fetch), { body: [dispatch] })
    expect([status, body]).toEqual([200, {}])
  })

  test.each([
    ['a receiver', () => honoReceiver(receiver())],
    ['middleware', () => honoDispatch({ dispatchKeys })],
  ])(
    '%s behind one that has read the request itself says what to do, and no job fails for good',
    async (_, mounted) => {
      const app = new Hono().use((c, next) => c.req.raw.text().then(next)).post('/jobs', mounted(), c => c.text('ran'))
      const answer = await sendRaw(await listen(app.fetch), { body: [dispatch] })
      expect([answer.status, answer.body.code]).toEqual([500, 'body_consumed'])
      expect(answer.body.error).toContain('c.req.arrayBuffer()')
    },
  )
})

describe('node:http and Express', () => {
  /** Takes the mount off `url`, as Express does. */
  const mounted =
    (prefix: string, listener: RequestListener): RequestListener =>
    (request, response) => {
      const originalUrl = request.url ?? ''
      Object.assign(request, { originalUrl, url: originalUrl.slice(prefix.length) || '/' })
      listener(request, response)
    }
  const verifying: RequestListener = (request, response) =>
    void nodeDispatch({ dispatchKeys })(request, response, error => response.writeHead(error ? 500 : 200).end())

  test.each([
    ['middleware', verifying],
    ['a receiver', nodeListener(receiver()) as RequestListener],
  ])('%s knows the whole path wherever it is mounted', async (_, listener) => {
    const base = await listenNode(createServer(mounted('/app', listener)))
    expect(await asked(base, '/app/jobs?a=%20&b')).toBe(200)
    expect(await asked(base, '/app')).toBe(200)
    expect(await asked(base, '/jobs', { path: '/app/jobs' })).toBe(401)
  })

  test('the form of a request that proxies use', async () => {
    const base = await listenNode(createServer(verifying))
    expect(await asked(base, '/jobs?a', { path: `${base}/jobs?a` })).toBe(200)
  })

  const parsed =
    (listener: RequestListener, keep: (bytes: Buffer) => object): RequestListener =>
    async (request, response) => {
      Object.assign(request, keep(await buffer(request)))
      listener(request, response)
    }

  test.each([
    ['middleware', verifying],
    ['a receiver', nodeListener(receiver()) as RequestListener],
  ])('%s behind a body parser needs the bytes, and says so', async (_, listener) => {
    const json = (bytes: Buffer) => ({ body: JSON.parse(bytes.toString()) })
    const lost = await sendRaw(await listenNode(createServer(parsed(listener, json))), { body: [dispatch] })
    expect([lost.status, lost.body.code]).toEqual([500, 'body_consumed'])
    expect(lost.body.error).toContain('req.rawBody = bytes')
    const keeping = (rawBody: Buffer) => ({ ...json(rawBody), rawBody })
    expect(await asked(await listenNode(createServer(parsed(listener, keeping))), '/jobs')).toBe(200)
  })

  test('a receiver in callback mode, with keys from the environment', async () => {
    process.env.VERIFIERS_KEYS = dispatchKeys
    const ingress = await startIngress()
    const fn = serve({
      kinds: [resizing(() => 'done')],
      dispatchKeys: (env: typeof process.env) => env.VERIFIERS_KEYS ?? '',
    })
    const base = await listenNode(createServer(nodeListener(fn)))
    expect((await fetch(dispatchRequest(base, { ingress: ingress.url }))).status).toBe(202)
    await fn.idle()
    expect(ingress.received).toEqual([{ action: 'complete', body: { payload: 'done' } }])
  })

  test('a request that breaks off is nobody’s dispatch', async () => {
    const ended = Promise.withResolvers<unknown>()
    const base = await listenNode(
      createServer((request, response) => {
        void nodeDispatch({ dispatchKeys })(request, response, () => ended.resolve('ran')).then(() =>
          ended.resolve('refused'),
        )
        request.destroy()
      }),
    )
    await expect(sendRaw(base, { body: [dispatch] })).rejects.toThrow()
    expect(await ended.promise).toBe('refused')
  })
})

describe('other servers', () => {
  test('the parts of a message are enough: Fastify, with headers and bytes as it has them', () => {
    const request = { method: 'POST', raw: { url: '/jobs' } as IncomingMessage, rawBody: Buffer.from(dispatch) }
    const headers = { 'millrace-signature': ['t=1', 'v1=2'] }
    const verify = () =>
      verifyDispatchMessage(
        { method: request.method, path: request.raw.url ?? '', headers, body: request.rawBody },
        { dispatchKeys },
      )
    expect(verify).toThrow(expect.objectContaining({ code: 'invalid_signature' }))
  })

  test('what is refused is an error with its answer; what is verified can be answered by hand', async () => {
    const ingress = await startIngress()
    const request = dispatchRequest('https://fn.example.com', { ingress: ingress.url })
    const verified = await verifyDispatchRequest(request, { dispatchKeys })
    expect(verified).toMatchObject({ jobId: '42', idempotencyKey: 'millrace-42', body: { args: { width: 8 } } })
    expect(await verified.callback?.send('heartbeat', { progress: { percent: 50 } })).toMatchObject({ status: 200 })
    expect(await verified.callback?.send('complete', { payload: { area: 64 } })).toMatchObject({ status: 200 })
    expect(ingress.received.map(({ body }) => body)).toEqual([{ progress: { percent: 50 } }, { payload: { area: 64 } }])
    expect(await request.json()).toMatchObject({ job_id: 42 })

    const again = await verifyDispatchRequest(request, { dispatchKeys }).catch(error => error)
    expect(again).toBeInstanceOf(Refused)
    expect([again.code, again.response().status]).toEqual(['body_consumed', 500])
  })

  test('in sync mode there is nobody to call back', async () => {
    const request = dispatchRequest('https://fn.example.com')
    expect((await verifyDispatchRequest(request, { dispatchKeys })).callback).toBeUndefined()
  })

  test('events of the job: the one that came, and where another may come in', async () => {
    const at = '2026-01-01T00:00:00.000Z'
    const body = {
      progress: { events: { payment: { payload: { paid: true }, at } } },
      events_url: 'https://jobs.example.com/api/events',
    }
    const request = dispatchRequest('https://fn.example.com', { body: body as object })
    request.headers.set('millrace-event-key', `k1:${'0a'.repeat(32)}`)
    const verified = await verifyDispatchRequest(request, { dispatchKeys })
    expect(verified.event('payment')).toMatchObject({ payload: { paid: true }, at: new Date(at), timedOut: false })
    expect(verified.event('approval')).toBeUndefined()
    expect(verified.eventUrl('approval')).toMatch(/^https:\/\/jobs.example.com\/api\/events\/k1\.42\./)
  })
})
