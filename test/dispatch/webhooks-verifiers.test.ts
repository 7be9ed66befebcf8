// Stock verifiers accept what is really sent, during a rotation too: npm's standardwebhooks, Python's standardwebhooks and svix, and
// for Ed25519 node:crypto, none of which shares code with ours.

import { createPublicKey, verify } from 'node:crypto'
import { admin } from 'millrace/admin'
import { Webhook } from 'standardwebhooks'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { type Received, startFunctionServer } from '../support/function-server.ts'
import { workOn } from '../support/maintenance.ts'
import { pythonWithWebhooks, verifyInPython } from '../support/python-webhooks.ts'

const shared = useDatabase()

const headersOf = ({ headers }: Received) => ({
  'webhook-id': String(headers['webhook-id']),
  'webhook-timestamp': String(headers['webhook-timestamp']),
  'webhook-signature': String(headers['webhook-signature']),
})

/** What an endpoint really gets during a rotation, and both secrets. */
async function rotating(name: string) {
  const database = workOn(shared)
  const server = await startFunctionServer(() => ({ status: 204 }))
  const { endpoints } = admin(database.sql)
  const { secret: old = '' } = await endpoints.create({ name, url: server.url })
  const next = (await endpoints.rotate(name))?.secret ?? ''
  await database.maintain({ listen: true })
  await endpoints.test(name)
  return { received: await server.received.first({}), old, next }
}

test('npm: standardwebhooks, with either secret', async () => {
  const { received, old, next } = await rotating('npm')
  for (const secret of [old, next]) {
    expect(new Webhook(secret).verify(received.text, headersOf(received))).toMatchObject({ type: 'webhook.test' })
    expect(() => new Webhook(secret).verify(`${received.text} `, headersOf(received))).toThrow()
  }
})

test('Python: standardwebhooks and svix, with either secret', async context => {
  const found = await pythonWithWebhooks()
  if ('missing' in found) return context.skip(`no Python with the packages: ${found.missing}`)
  const { received, old, next } = await rotating('python')
  const headers = headersOf(received)
  const verified = await verifyInPython(found, [
    { secret: old, body: received.text, headers },
    { secret: next, body: received.text, headers },
    { secret: next, body: `${received.text} `, headers },
    { secret: `whsec_${btoa('another secret of 24 bytes')}`, body: received.text, headers },
  ])
  const valid = { standardwebhooks: 'valid', svix: 'valid' }
  const invalid = { standardwebhooks: expect.stringMatching(/signature/i), svix: expect.stringMatching(/signature/i) }
  expect(verified).toEqual([valid, valid, invalid, invalid])
}, 200_000)

test('Ed25519: node:crypto, and while both sign, npm standardwebhooks with the old secret', async () => {
  const database = workOn(shared)
  const server = await startFunctionServer(() => ({ status: 204 }))
  const { endpoints } = admin(database.sql)
  const { secret: old = '' } = await endpoints.create({ name: 'ed25519', url: server.url })
  const { public_key: publicKey = '' } = (await endpoints.rotate('ed25519', { signature: 'v1a' })) ?? {}
  await database.maintain({ listen: true })
  await endpoints.test('ed25519')

  const received = await server.received.first({})
  const headers = headersOf(received)
  const signature = headers['webhook-signature'].split(' ').find(one => one.startsWith('v1a,')) ?? ''
  const x = Buffer.from(publicKey.slice('whpk_'.length), 'base64').toString('base64url')
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${received.text}`
  expect(verify(null, Buffer.from(signed), key, Buffer.from(signature.slice('v1a,'.length), 'base64'))).toBe(true)
  expect(new Webhook(old).verify(received.text, headers)).toMatchObject({ type: 'webhook.test' })
})
