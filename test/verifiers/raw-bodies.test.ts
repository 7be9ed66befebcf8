// One set of requests against every way of checking a dispatch: whatever the body is, whoever has read it before.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import { Hono, type MiddlewareHandler } from 'hono'
import { lambdaAnswer, lambdaRequest } from 'millrace/aws'
import { honoDispatch, Refused, type VerifiedDispatch, verifyDispatchRequest } from 'millrace/function'
import { type DispatchRequestNode, nodeDispatch } from 'millrace/node'
import { describe, expect, test } from 'vitest'
import { dispatchKeys } from '../support/function.ts'
import { listen, listenNode } from '../support/http-server.ts'
import {
  balancerEvent,
  functionUrlEvent,
  multiValueBalancerEvent,
  restEvent,
  serveLambda,
} from '../support/lambda-events.ts'
import { sendRaw, signatureOf } from '../support/raw-http.ts'

const LIMIT = 2 * 1024 * 1024
const options = { dispatchKeys, maxBodyBytes: LIMIT }

const said = ({ jobId, body, bytes }: VerifiedDispatch, readAgain: unknown) => ({
  jobId,
  args: body.args,
  size: bytes.length,
  readAgain: (readAgain as { job_id: number }).job_id,
})

const viaFetch = async (request: Request): Promise<Response> => {
  try {
    const dispatch = await verifyDispatchRequest(request, options)
    return Response.json(said(dispatch, JSON.parse((await request.text()).replace('\ufeff', ''))))
  } catch (error) {
    if (error instanceof Refused) return error.response()
    throw error
  }
}

const viaHono = (before?: MiddlewareHandler) => {
  const app = new Hono()
  if (before) app.use(before)
  app.post('/jobs', honoDispatch(options), async c => {
    const text = new TextDecoder().decode(await c.req.arrayBuffer())
    return c.json(said(c.get('dispatch'), JSON.parse(text)))
  })
  return listen(app.fetch)
}

/** The parsers of Express: they read the stream to its end before any route is asked. */
const parser =
  (keep: (request: IncomingMessage, bytes: Buffer) => object) =>
  async (request: IncomingMessage): Promise<void> => {
    Object.assign(request, keep(request, await buffer(request)))
  }

const viaNode = (before?: (request: IncomingMessage) => Promise<void>) => {
  const verify = nodeDispatch(options)
  const route = (request: IncomingMessage, response: ServerResponse) => {
    const { dispatch, body } = request as DispatchRequestNode & { body: unknown }
    response.setHeader('content-type', 'application/json').end(JSON.stringify(said(dispatch, body)))
  }
  return listenNode(
    createServer(async (request, response) => {
      await before?.(request)
      await verify(request, response, error => (error ? response.writeHead(500).end() : route(request, response)))
    }),
  )
}

const lambda = (eventOf: Parameters<typeof serveLambda>[0]) => () =>
  serveLambda(eventOf, async event => lambdaAnswer(await viaFetch(lambdaRequest(event)), event))

/** `decodes`: the body was read as text, which loses a byte order mark and whatever is not UTF-8. */
const SERVERS: [name: string, start: () => Promise<string>, traits?: { decodes: true }][] = [
  ['fetch', () => listen(viaFetch)],
  ['Hono', () => viaHono()],
  ['Hono, behind one that has read bytes', () => viaHono((c, next) => c.req.arrayBuffer().then(next))],
  ['Hono, behind one that has read a blob', () => viaHono((c, next) => c.req.blob().then(next))],
  ['Hono, behind one that has read text', () => viaHono((c, next) => c.req.text().then(next)), { decodes: true }],
  [
    'Hono, behind one that has read JSON',
    () =>
      viaHono((c, next) =>
        c.req
          .json()
          .catch(() => undefined)
          .then(next),
      ),
    { decodes: true },
  ],
  ['node:http', () => viaNode()],
  ['Express, whose parser keeps rawBody', () => viaNode(parser((_, rawBody) => ({ rawBody, body: {} })))],
  ['Express, whose parser leaves a buffer', () => viaNode(parser((_, body) => ({ body })))],
  [
    'a parser that keeps rawBody as text',
    () => viaNode(parser((_, b) => ({ rawBody: b.toString() }))),
    { decodes: true },
  ],
  ['Lambda, function URL', lambda(functionUrlEvent)],
  ['Lambda, REST API', lambda(restEvent)],
  ['Lambda, load balancer', lambda(balancerEvent)],
  ['Lambda, load balancer with lists', lambda(multiValueBalancerEvent)],
]

const dispatch = (args: unknown, space?: string) =>
  JSON.stringify({ job_id: 42, kind: 'resize', args, attempt: 1, max_attempts: 5 }, null, space)

describe.each(SERVERS)('%s', (name, start, { decodes = false } = {} as { decodes: true }) => {
  const isText = decodes || name.startsWith('Lambda')

  test.each([
    ['as Millrace writes it', [dispatch({ width: 8 })]],
    ['in two pieces, between the bytes of a character', [...halves(dispatch('Größe 𝄞 ✓'), '𝄞')]],
    ['one byte at a time', [...Buffer.from(dispatch('ä'))].map(byte => Uint8Array.of(byte))],
    ['with line ends of two characters', [dispatch({ width: 8 }, '\t').replaceAll('\n', '\r\n')]],
    ['with blanks around it', [` \n${dispatch(1)}\r\n `]],
    ['of a mebibyte', [dispatch('x'.repeat(1024 * 1024))]],
  ])('a body %s', async (_, body) => {
    const { status, body: answer } = await sendRaw(await start(), { body })
    const whole = Buffer.concat(body.map(piece => Buffer.from(piece)))
    expect(status).toBe(200)
    expect(answer).toEqual({ jobId: '42', args: JSON.parse(whole.toString()).args, size: whole.length, readAgain: 42 })
  })

  test('a byte order mark is a part of what was signed; where it was lost on the way, nothing is taken', async () => {
    const { status, body } = await sendRaw(await start(), { body: [`\ufeff${dispatch(1)}`] })
    if (name.startsWith('Hono') && decodes) expect([status, body.code]).toEqual([401, 'invalid_signature'])
    else expect([status, body.jobId]).toEqual([200, '42'])
  })

  test('what is not UTF-8 is no dispatch, whoever signed it', async () => {
    const { status, body } = await sendRaw(await start(), { body: [Buffer.from(dispatch('ä'), 'latin1')] })
    expect([status, body.code]).toEqual(isText ? [401, 'invalid_signature'] : [400, 'invalid_request'])
  })

  test('an empty body is no dispatch', async () => {
    const { status, body } = await sendRaw(await start(), { body: [] })
    expect([status, body.code]).toEqual([400, 'invalid_request'])
  })

  test('a compressed body is refused, and no job fails for good because of it', async () => {
    const body = [gzipSync(dispatch(1))]
    const answer = await sendRaw(await start(), { body, headers: { 'content-encoding': 'gzip' } })
    expect([answer.status, answer.body.code]).toEqual([415, 'unsupported_encoding'])
    expect(answer.headers['millrace-no-retry']).toBe('false')
  })

  test.each([
    ['written otherwise', dispatch({ width: 8 }, ' ')],
    ['of other content', dispatch({ width: 9 })],
    ['cut short', dispatch({ width: 8 }).slice(0, -1)],
    ['continued', `${dispatch({ width: 8 })} `],
    ['missing', ''],
  ])('a body %s is not what was signed', async (_, sent) => {
    const answer = await sendRaw(await start(), { body: [dispatch({ width: 8 })], sent: [sent] })
    expect([answer.status, answer.body.code]).toEqual([401, 'invalid_signature'])
    expect(answer.headers['millrace-no-retry']).toBe('false')
  })

  test('a body over the limit is answered, not dropped', async () => {
    const { status, body } = await sendRaw(await start(), { body: [dispatch('x'.repeat(LIMIT))] })
    expect([status, body.code]).toEqual([413, 'body_too_large'])
  })

  test('two signatures are none, whichever of them is right', async () => {
    const base = await start()
    const body = [dispatch(1)]
    const right = signatureOf({ body })
    const wrong = right.replace(/v1=..../, 'v1=0000')
    const both = await sendRaw(base, { body, headers: { 'millrace-signature': [right, wrong] } })
    // A load balancer without lists tells the last one only.
    expect(both.status).toBe(401)
    expect((await sendRaw(base, { body, headers: { 'millrace-signature': undefined } })).status).toBe(401)
  })

  test('another method is refused before anything is read', async () => {
    const { status } = await sendRaw(await start(), { method: 'PUT', body: [dispatch(1)] })
    expect(status).toBe(name.startsWith('Hono') ? 404 : 405)
  })
})

/** Two pieces of the text's bytes, cut inside of the character. */
function halves(text: string, character: string): [Uint8Array, Uint8Array] {
  const bytes = Buffer.from(text)
  const at = bytes.indexOf(character) + 2
  return [bytes.subarray(0, at), bytes.subarray(at)]
}
