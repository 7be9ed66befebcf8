// The published vectors that are not of the plainest kind: other spellings that are taken, and forgeries that are not.

import { readFileSync } from 'node:fs'
import { blake3 } from '@noble/hashes/blake3.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import {
  attemptKey,
  decodeCallbackId,
  parseKeyring,
  verifyCallback,
  verifyDispatch,
  verifyWebhook,
} from 'millrace/protocol'
import { describe, expect, test } from 'vitest'

const vectors = JSON.parse(readFileSync(new URL('../../docs/protocol-vectors.json', import.meta.url), 'utf8'))
const bytes = (text: string) => new TextEncoder().encode(text)
const first = (keyring: string) => parseKeyring(keyring).keys[0]

test.each(vectors.keyrings)('the keyring $text', ({ text, keys }) => {
  expect(parseKeyring(text).keys.map(({ kid, secret }) => ({ kid, secret: bytesToHex(secret) }))).toEqual(keys)
})

test.each(vectors.invalidKeyrings)('no keyring: "%s"', text => {
  expect(() => parseKeyring(text)).toThrow(expect.objectContaining({ code: 'invalid_keyring' }))
})

test.each(vectors.invalidCallbackIds)('no callback id: "%s"', text => {
  expect(decodeCallbackId(text)).toBeUndefined()
})

test('the attempt root lies between the root secret and the attempt keys', () => {
  for (const { keyring, attemptRoot, callbackId, attemptKey: key } of vectors.keys) {
    const derived = blake3(first(keyring).secret, { context: bytes('millrace v1 attempt keys') })
    expect(attemptRoot).toBe(bytesToHex(derived))
    expect(attemptKey(first(keyring), callbackId)).toBe(key)
  }
})

describe('dispatches', () => {
  const verdict = ({ dispatchKeys, method, path, body, header, now }: Record<string, string> & { now: number }) =>
    verifyDispatch(
      parseKeyring(dispatchKeys as string),
      { method: method as string, path: path as string, body: bytes(body as string) },
      header,
      now,
    )

  test.each(vectors.dispatchAccepted)('taken: $name', vector => expect(verdict(vector)).toBe('valid'))
  test.each(vectors.dispatchRefused)('refused: $name', vector => expect(verdict(vector)).toBe(vector.verdict))
})

describe('callbacks', () => {
  test.each(vectors.callbackRefused)(
    'refused: $name',
    ({ keyring, action, callbackId, body, header, now, verdict }) => {
      expect(verifyCallback(first(keyring), { action, callbackId, body: bytes(body) }, header, now)).toBe(verdict)
    },
  )
})

describe('webhooks', () => {
  test.each(vectors.webhookAccepted)('taken: $name', ({ secret, headers, body, now }) => {
    expect(verifyWebhook(secret, headers, bytes(body), now)).toBe('valid')
  })
  test.each(vectors.webhookRefused)('refused: $name', ({ secret, headers, body, now, verdict }) => {
    expect(verifyWebhook(secret, headers, bytes(body), now)).toBe(verdict)
  })
})
