// Every signature and token of the wire protocol, against the published vectors and against forgers.

import { readFileSync } from 'node:fs'
import { blake3 } from '@noble/hashes/blake3.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import fc from 'fast-check'
import { Webhook } from 'standardwebhooks'
import { describe, expect, test } from 'vitest'
import {
  attemptKey,
  callbackIdOf,
  callbackUrl,
  deriveDispatchKeyring,
  dispatchHeaders,
  encodeCallbackId,
  formatKeyring,
  generateWebhookSecret,
  type Keyring,
  parseKeyring,
  signCallback,
  signCompatible,
  signDispatch,
  signWebhook,
  verifyCallback,
  verifyCompatible,
  verifyDispatch,
  verifyWebhook,
} from '../core/protocol.ts'

const vectors = JSON.parse(readFileSync(new URL('../docs/protocol-vectors.json', import.meta.url), 'utf8'))
const bytes = (text: string) => new TextEncoder().encode(text)
const root = parseKeyring(`new:${'07'.repeat(32)},old:${'08'.repeat(32)}`)
const now = 1_750_000_000_000
const seconds = (n: number) => now + n * 1000

describe('the published vectors', () => {
  const first = (text: string) => parseKeyring(text).keys[0]

  test('Awa: the bearer header', () => {
    for (const { secret, callbackId, header } of vectors.compatible) {
      expect(signCompatible(first(secret), callbackId)).toBe(header)
      expect(verifyCompatible(first(secret), callbackId, header)).toBe(true)
    }
  })

  test('derived keys', () => {
    for (const { keyring, dispatch, callbackId, attemptKey: key } of vectors.keys) {
      expect(formatKeyring(deriveDispatchKeyring(parseKeyring(keyring)))).toBe(dispatch)
      expect(attemptKey(first(keyring), callbackId)).toBe(key)
    }
  })

  test('callback ids', () => {
    for (const { kid, ref, callbackId } of vectors.callbackIds) expect(encodeCallbackId(kid, ref)).toBe(callbackId)
  })

  test('dispatch signatures', () => {
    for (const { dispatchKeys, now, method, path, body, header } of vectors.dispatch) {
      const request = { method, path, body: bytes(body) }
      expect(signDispatch(first(dispatchKeys), request, now)).toBe(header)
      expect(verifyDispatch(parseKeyring(dispatchKeys), request, header, now)).toBe('valid')
    }
  })

  test('bound callback signatures', () => {
    for (const { keyring, attemptKey, now, action, callbackId, body, header } of vectors.callback) {
      const callback = { action, callbackId, body: bytes(body) }
      expect(signCallback(attemptKey, callback, now)).toBe(header)
      expect(verifyCallback(first(keyring), callback, header, now)).toBe('valid')
    }
  })

  test('all of it follows from docs/protocol.md and BLAKE3 alone', () => {
    const { keyring, dispatch, callbackId, attemptKey: key } = vectors.keys[0]
    const root = first(keyring).secret
    const derived = (context: string) => blake3(root, { context: bytes(context) })
    expect(dispatch).toContain(bytesToHex(derived('millrace v1 dispatch signing')))
    expect(key).toBe(bytesToHex(blake3(bytes(callbackId), { key: derived('millrace v1 attempt keys') })))
    for (const { method, path, body, header } of vectors.dispatch) {
      const signed = bytes(`1750000000\n${method}\n${path}\n${body}`)
      expect(header).toContain(`v1=${bytesToHex(blake3(signed, { key: derived('millrace v1 dispatch signing') }))}`)
    }
    for (const { attemptKey, action, callbackId, body, header } of vectors.callback) {
      const signed = bytes(`1750000000\n${action}\n${callbackId}\n${body}`)
      expect(header).toBe(`t=1750000000,v1=${bytesToHex(blake3(signed, { key: first(attemptKey).secret }))}`)
    }
  })

  test('webhooks', () => {
    for (const { secret, id, now, body, headers } of vectors.webhook) {
      expect(signWebhook(secret, { id, body: bytes(body) }, now)).toEqual(headers)
      expect(verifyWebhook(secret, headers, bytes(body), now)).toBe('valid')
    }
  })
})

describe('a dispatch', () => {
  const request = { method: 'POST', path: '/jobs?shop=1', body: bytes('{"job_id":1}') }
  const dispatchKeys = deriveDispatchKeyring(root)
  const signed = signDispatch(dispatchKeys.keys[0], request, now)
  const verdict = (change: Partial<typeof request>, header = signed, at = now, keys: Keyring = dispatchKeys) =>
    verifyDispatch(keys, { ...request, ...change }, header, at)

  test('is valid as it was signed, for five minutes either way', () => {
    expect(verdict({})).toBe('valid')
    expect(verdict({}, signed, seconds(300))).toBe('valid')
    expect(verdict({}, signed, seconds(-300))).toBe('valid')
    expect(verdict({}, signed, seconds(301))).toBe('stale_timestamp')
    expect(verdict({}, signed, seconds(-301))).toBe('stale_timestamp')
  })

  test('is bound to method, path, query and body', () => {
    expect(verdict({ method: 'PUT' })).toBe('invalid_signature')
    expect(verdict({ path: '/jobs' })).toBe('invalid_signature')
    expect(verdict({ body: bytes('{"job_id":2}') })).toBe('invalid_signature')
    expect(verdict({ path: '/jobs?shop=1\n', body: request.body.slice(1) })).toBe('invalid_signature')
  })

  test('verifies under any key of the ring, and under no other', () => {
    const byOld = signDispatch(dispatchKeys.keys[1] as never, request, now)
    expect(verdict({}, byOld)).toBe('valid')
    expect(verdict({}, byOld.replace('kid=old', 'kid=new'))).toBe('invalid_signature')
    expect(verdict({}, byOld, now, { keys: [dispatchKeys.keys[0]] })).toBe('invalid_signature')
    expect(verdict({}, signed, now, root)).toBe('invalid_signature')
  })

  test('leaves room for a later version beside v1, but none for a second v1', () => {
    expect(verdict({}, `${signed},v2=abc`)).toBe('valid')
    expect(verdict({}, `${signed},${signed}`)).toBe('invalid_signature')
  })

  test('no other header is taken for its signature', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.constantFrom(...mutationsOf(signed))), header => {
        expect(verdict({}, header)).toBe('invalid_signature')
      }),
    )
  })
})

describe('the headers of a dispatch', () => {
  const ref = { segment: '3', id: '42', attempt: 2 }
  const deadline = '2026-01-01T00:00:00.000Z'
  const dispatch = { keyring: root, ref, method: 'POST', path: '/jobs', body: bytes('{}'), deadline, now }

  test('name attempt, deadline and a key that is the same for all attempts of the job', () => {
    const headers = dispatchHeaders(dispatch)
    expect(headers).toMatchObject({ 'millrace-attempt': '2', 'millrace-deadline': deadline })
    const later = dispatchHeaders({ ...dispatch, ref: { ...ref, attempt: 3 } })
    expect(later['idempotency-key']).toBe(headers['idempotency-key'])
  })

  test('hold the means to call back in callback mode only', () => {
    const callbackId = callbackIdOf(root, ref)
    const headers = dispatchHeaders({ ...dispatch, callbackId })
    expect(headers['millrace-attempt-key']).toBe(attemptKey(root.keys[0], callbackId))
    expect(headers['x-awa-signature']).toBe(signCompatible(root.keys[0], callbackId))
    expect(dispatchHeaders({ ...dispatch, callbackId, compatible: false })).not.toHaveProperty('x-awa-signature')
    expect(Object.keys(dispatchHeaders(dispatch))).not.toContain('millrace-attempt-key')
    expect(Object.keys(dispatchHeaders(dispatch))).not.toContain('x-awa-signature')
  })
})

describe('a bound callback', () => {
  const callbackId = callbackIdOf(root, { segment: '0', id: '7', attempt: 1 })
  const callback = { action: 'complete', callbackId, body: bytes('{"payload":1}') } as const
  const key = attemptKey(root.keys[0], callbackId)
  const signed = signCallback(key, callback, now)

  test('is bound to action, attempt, body and time', () => {
    const verdict = (change: object, at = now) => verifyCallback(root.keys[0], { ...callback, ...change }, signed, at)
    expect(verdict({})).toBe('valid')
    expect(verdict({ action: 'fail' })).toBe('invalid_signature')
    expect(verdict({ callbackId: callbackIdOf(root, { segment: '0', id: '7', attempt: 2 }) })).toBe('invalid_signature')
    expect(verdict({ body: bytes('{"payload":2}') })).toBe('invalid_signature')
    expect(verdict({}, seconds(301))).toBe('stale_timestamp')
  })

  test('cannot be made from the bearer header, nor the bearer header from its key', () => {
    const bearer = signCompatible(root.keys[0], callbackId)
    expect(verifyCallback(root.keys[0], callback, signCallback(bearer, callback, now), now)).toBe('invalid_signature')
    expect(verifyCompatible(root.keys[0], callbackId, key)).toBe(false)
  })

  test('is refused for a malformed key', () => {
    expect(() => signCallback('abc', callback, now)).toThrow(expect.objectContaining({ code: 'invalid_signature' }))
  })
})

describe("Awa's bearer header", () => {
  const root = parseKeyring('07'.repeat(32)).keys[0]
  const signed = signCompatible(root, 'abc')

  test('is refused with another key, another id, cut short, or no hex at all', () => {
    expect(verifyCompatible(parseKeyring('08'.repeat(32)).keys[0], 'abc', signed)).toBe(false)
    expect(verifyCompatible(root, 'abd', signed)).toBe(false)
    for (const header of mutationsOf(signed)) expect(verifyCompatible(root, 'abc', header), header).toBe(false)
  })

  test('is taken in either case, since it is hex', () => {
    expect(verifyCompatible(root, 'abc', signed.toUpperCase())).toBe(true)
  })
})

describe('callback URLs', () => {
  test('slashes around base and prefix do not matter, and the prefix may be blank', () => {
    const expected = 'https://jobs.example.com/api/callbacks/id/complete'
    expect(callbackUrl('https://jobs.example.com', undefined, 'id', 'complete')).toBe(expected)
    expect(callbackUrl('https://jobs.example.com//', ' api/callbacks/ ', 'id', 'complete')).toBe(expected)
    expect(callbackUrl('https://jobs.example.com/', ' ', 'id', 'fail')).toBe('https://jobs.example.com/id/fail')
    expect(callbackUrl('https://example.com/base/', '/cb', 'id', 'heartbeat')).toBe(
      'https://example.com/base/cb/id/heartbeat',
    )
  })
})

describe('a webhook', () => {
  const body = '{"type":"job.completed","data":{"text":"Größe"}}'
  const secret = generateWebhookSecret()
  const stamped = Date.now()
  const headers = signWebhook(secret, { id: 'msg_1', body: bytes(body) }, stamped)

  test('passes the stock verifier of Standard Webhooks', () => {
    expect(new Webhook(secret).verify(body, headers)).toEqual(JSON.parse(body))
    expect(() => new Webhook(generateWebhookSecret()).verify(body, headers)).toThrow()
    expect(() => new Webhook(secret).verify(`${body} `, headers)).toThrow()
  })

  test('is signed with every secret while one replaces another', () => {
    const next = generateWebhookSecret()
    const both = signWebhook([next, secret], { id: 'msg_1', body: bytes(body) }, stamped)
    expect(new Webhook(secret).verify(body, both)).toEqual(JSON.parse(body))
    expect(new Webhook(next).verify(body, both)).toEqual(JSON.parse(body))
  })

  test('can be checked by its BLAKE3 signature alone', () => {
    const blake3 = headers['webhook-signature'].split(' ').find(signature => signature.startsWith('v1b3,')) as string
    const check = (signature: string, at = stamped) =>
      verifyWebhook(secret, { ...headers, 'webhook-signature': signature }, bytes(body), at)
    expect(check(blake3)).toBe('valid')
    expect(check(blake3, stamped + 301_000)).toBe('stale_timestamp')
    expect(check(blake3.replace('v1b3', 'v1'))).toBe('invalid_signature')
    expect(check('')).toBe('invalid_signature')
  })

  test('needs a secret of 24 to 64 bytes and an id without dots', () => {
    const message = { id: 'msg_1', body: bytes(body) }
    for (const bad of ['', 'whsec_', 'whsec_c2hvcnQ=', 'whsec_!!!', secret.slice(6)]) {
      expect(() => signWebhook(bad, message, now)).toThrow(expect.objectContaining({ code: 'invalid_configuration' }))
    }
    expect(() => signWebhook(secret, { ...message, id: 'a.b' }, now)).toThrow()
  })
})

/** Near misses: one character changed, cut off, added, or the whole wrapped in blanks. */
function mutationsOf(text: string): string[] {
  const flipped = [...text].map((char, i) => text.slice(0, i) + (char === 'a' ? 'b' : 'a') + text.slice(i + 1))
  return [...flipped, text.slice(0, -1), `${text}0`, '', ' ', '0'.repeat(64)]
}
