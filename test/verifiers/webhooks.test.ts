// Webhooks against every verifier: rotation, v1, v1b3, v1a, and what is not taken.

import { createServer } from 'node:http'
import { Hono } from 'hono'
import { lambdaAnswer, lambdaRequest } from 'millrace/aws'
import { honoWebhook, Refused, verifyWebhookMessage, verifyWebhookRequest } from 'millrace/function'
import { nodeWebhook, type WebhookRequestNode } from 'millrace/node'
import { generateWebhookSecret, signWebhook } from 'millrace/protocol'
import { describe, expect, test } from 'vitest'
import { generateWebhookKeyPair, signWebhookAsymmetric } from '../../core/protocol/webhook-ed25519.ts'
import { listen, listenNode } from '../support/http-server.ts'
import { functionUrlEvent, serveLambda } from '../support/lambda-events.ts'

const secret = generateWebhookSecret()
const next = generateWebhookSecret()
const body = '{"type": "job.completed", "timestamp": "2026-01-01T00:00:00Z", "data": {"text": "Größe"}}'
const bytes = new TextEncoder().encode(body)
const options = { secrets: [next, secret] }

const viaFetch = async (request: Request): Promise<Response> => {
  try {
    const { id, event } = await verifyWebhookRequest(request, options)
    return Response.json({ id, type: event.type })
  } catch (error) {
    if (error instanceof Refused) return error.response()
    throw error
  }
}

const SERVERS: [name: string, start: () => Promise<string>][] = [
  ['fetch', () => listen(viaFetch)],
  [
    'Hono',
    () =>
      listen(
        new Hono()
          .use((c, next) => c.req.text().then(next))
          .post('/hooks', honoWebhook(options), c => {
            const { id, event } = c.get('webhook')
            return c.json({ id, type: event.type })
          }).fetch,
      ),
  ],
  [
    'node:http',
    () =>
      listenNode(
        createServer((request, response) => {
          void nodeWebhook(options)(request, response, () => {
            const { id, event } = (request as WebhookRequestNode).webhook
            response.end(JSON.stringify({ id, type: event.type }))
          })
        }),
      ),
  ],
  [
    'Lambda',
    () => serveLambda(functionUrlEvent, async event => lambdaAnswer(await viaFetch(lambdaRequest(event)), event)),
  ],
]

describe.each(SERVERS)('%s', (_, start) => {
  const send = async (headers: Record<string, string>, text = body) => {
    const response = await fetch(`${await start()}/hooks`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: text,
    })
    return [response.status, await response.json()]
  }
  const signed = (secrets: string | string[], now = Date.now(), of = bytes) =>
    signWebhook(secrets, { id: 'msg_1', body: of }, now)

  test('signed with one of the secrets, or with both', async () => {
    const taken = [200, { id: 'msg_1', type: 'job.completed' }]
    for (const secrets of [secret, next, [next, secret]]) expect(await send(signed(secrets))).toEqual(taken)
  })

  test('signed with another, of another body, too old, not at all', async () => {
    const refused = (code: string) => [401, expect.objectContaining({ code })]
    expect(await send(signed(generateWebhookSecret()))).toEqual(refused('invalid_signature'))
    expect(await send(signed(secret), `${body} `)).toEqual(refused('invalid_signature'))
    expect(await send(signed(secret, Date.now() - 301_000))).toEqual(refused('stale_timestamp'))
    expect(await send({})).toEqual(refused('invalid_signature'))
  })

  test('rightly signed, but no event', async () => {
    for (const text of ['[1]', 'null', '{"type":1}', 'x']) {
      const [status] = await send(signed(secret, undefined, new TextEncoder().encode(text)), text)
      expect(status).toBe(400)
    }
  })
})

test('v1a is checked with the public key alone', async () => {
  const { privateKey, publicKey } = await generateWebhookKeyPair()
  const now = Date.now()
  const timestamp = Math.floor(now / 1000)
  const headers = {
    'webhook-id': 'msg_1',
    'webhook-timestamp': String(timestamp),
    'webhook-signature': await signWebhookAsymmetric(privateKey, { id: 'msg_1', body: bytes }, timestamp),
  }
  expect((await verifyWebhookMessage({ headers, body: bytes }, { secrets: [secret, publicKey] })).id).toBe('msg_1')
  const { publicKey: other } = await generateWebhookKeyPair()
  await expect(verifyWebhookMessage({ headers, body: bytes }, { secrets: other })).rejects.toThrow(Refused)
})

test('an endpoint without a secret takes nothing', async () => {
  for (const secrets of [[], '', () => undefined as never]) {
    await expect(verifyWebhookMessage({ headers: {}, body: bytes }, { secrets })).rejects.toThrow(
      expect.objectContaining({ code: 'invalid_configuration' }),
    )
  }
})
