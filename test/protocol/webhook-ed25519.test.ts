// v1a of Standard Webhooks, against the vector of Svix's server and against node:crypto, which shares no code with ours.

import { createPublicKey, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  generateWebhookKeyPair,
  signWebhookAsymmetric,
  verifyWebhookAsymmetric,
  webhookPublicKey,
} from '../../core/protocol.ts'

const vectors = JSON.parse(readFileSync(new URL('../../docs/protocol-vectors.json', import.meta.url), 'utf8'))
const bytes = (text: string) => new TextEncoder().encode(text)
const malformed = expect.objectContaining({ code: 'invalid_configuration' })

test('the published vectors', async () => {
  for (const { privateKey, publicKey, now, body, headers } of vectors.webhookAsymmetric) {
    const message = { id: headers['webhook-id'], body: bytes(body) }
    expect(await webhookPublicKey(privateKey)).toBe(publicKey)
    expect(await signWebhookAsymmetric(privateKey, message, now / 1000)).toBe(headers['webhook-signature'])
    expect(await verifyWebhookAsymmetric(publicKey, headers, bytes(body), now)).toBe('valid')
  }
})

describe('a new key pair', async () => {
  const { privateKey, publicKey } = await generateWebhookKeyPair()
  const now = 1_750_000_000_000
  const body = bytes('{"type":"job.completed"}')
  const signature = await signWebhookAsymmetric(privateKey, { id: 'msg_1', body }, now / 1000)
  const headers = { 'webhook-id': 'msg_1', 'webhook-timestamp': '1750000000', 'webhook-signature': signature }

  test('signs what node:crypto verifies', () => {
    const x = Buffer.from(publicKey.slice('whpk_'.length), 'base64').toString('base64url')
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
    const given = Buffer.from(signature.slice('v1a,'.length), 'base64')
    const signed = Buffer.concat([Buffer.from('msg_1.1750000000.'), body])
    expect(verify(null, signed, key, given)).toBe(true)
    expect(verify(null, Buffer.concat([signed, Buffer.from(' ')]), key, given)).toBe(false)
  })

  test('may be given as its first 32 bytes', async () => {
    const seed = Buffer.from(privateKey.slice('whsk_'.length), 'base64').subarray(0, 32)
    expect(await webhookPublicKey(`whsk_${seed.toString('base64')}`)).toBe(publicKey)
  })

  test.each<[string, object, string]>([
    ['valid', {}, 'valid'],
    ['beside others', { 'webhook-signature': `v1,AAAA v1a,!! v1a,AAAA ${signature}` }, 'valid'],
    ['of another version', { 'webhook-signature': signature.replace('v1a', 'v1') }, 'invalid_signature'],
    ['of another message', { 'webhook-id': 'msg_2' }, 'invalid_signature'],
    ['of another time', { 'webhook-timestamp': '1750000001' }, 'invalid_signature'],
    ['without a time', { 'webhook-timestamp': undefined }, 'invalid_signature'],
    ['without a signature', { 'webhook-signature': undefined }, 'invalid_signature'],
  ])('a signature that is %s', async (_, change, verdict) => {
    expect(await verifyWebhookAsymmetric(publicKey, { ...headers, ...change }, body, now)).toBe(verdict)
  })

  test('and an old one is told from a forged one', async () => {
    expect(await verifyWebhookAsymmetric(publicKey, headers, body, now + 301_000)).toBe('stale_timestamp')
    const other = await generateWebhookKeyPair()
    expect(await verifyWebhookAsymmetric(other.publicKey, headers, body, now)).toBe('invalid_signature')
  })

  test('keys of another form are refused', async () => {
    for (const bad of ['', publicKey, 'whsk_', 'whsk_AAAA', `whsk_${'A'.repeat(40)}`])
      await expect(webhookPublicKey(bad)).rejects.toEqual(malformed)
    for (const bad of ['', privateKey, 'whpk_AAAA'])
      await expect(verifyWebhookAsymmetric(bad, headers, body, now)).rejects.toEqual(malformed)
  })
})
