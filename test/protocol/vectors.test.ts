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
  type WebhookHeaders,
} from 'millrace/protocol'
import { describe, expect, test } from 'vitest'

/** Which fields there are depends on the section. */
type Vector = Record<string, string> & {
  readonly now: number
  readonly headers: WebhookHeaders
  readonly keys: { readonly kid: string; readonly secret: string }[]
}

const read = JSON.parse(readFileSync(new URL('../../docs/protocol-vectors.json', import.meta.url), 'utf8'))
const vectors = (section: string): Vector[] => read[section]
const texts = (section: string): string[] => read[section]
const text = (value: string | undefined): string => value ?? expect.fail('a field is missing')
const bytes = (of: string | undefined) => new TextEncoder().encode(text(of))
const first = (keyring: string | undefined) => parseKeyring(text(keyring)).keys[0]

test.each(vectors('keyrings'))('the keyring $text', ({ text: keyring, keys }) => {
  expect(parseKeyring(text(keyring)).keys.map(({ kid, secret }) => ({ kid, secret: bytesToHex(secret) }))).toEqual(keys)
})

test.each(texts('invalidKeyrings'))('no keyring: "%s"', text => {
  expect(() => parseKeyring(text)).toThrow(expect.objectContaining({ code: 'invalid_keyring' }))
})

test.each(texts('invalidCallbackIds'))('no callback id: "%s"', text => {
  expect(decodeCallbackId(text)).toBeUndefined()
})

test('the attempt root lies between the root secret and the attempt keys', () => {
  for (const { keyring, attemptRoot, callbackId, attemptKey: key } of vectors('keys')) {
    const derived = blake3(first(keyring).secret, { context: bytes('millrace v1 attempt keys') })
    expect(attemptRoot).toBe(bytesToHex(derived))
    expect(attemptKey(first(keyring), text(callbackId))).toBe(key)
  }
})

describe('dispatches', () => {
  const verdict = ({ dispatchKeys, method, path, body, header, now }: Vector) =>
    verifyDispatch(
      parseKeyring(text(dispatchKeys)),
      { method: text(method), path: text(path), body: bytes(body) },
      header,
      now,
    )

  test.each(vectors('dispatchAccepted'))('taken: $name', vector => expect(verdict(vector)).toBe('valid'))
  test.each(vectors('dispatchRefused'))('refused: $name', vector => expect(verdict(vector)).toBe(vector.verdict))
})

describe('callbacks', () => {
  test.each(vectors('callbackRefused'))(
    'refused: $name',
    ({ keyring, action, callbackId, body, header, now, verdict }) => {
      expect(
        verifyCallback(
          first(keyring),
          { action: action as 'fail', callbackId: text(callbackId), body: bytes(body) },
          text(header),
          now,
        ),
      ).toBe(verdict)
    },
  )
})

describe('webhooks', () => {
  test.each(vectors('webhookAccepted'))('taken: $name', ({ secret, headers, body, now }) => {
    expect(verifyWebhook(text(secret), headers, bytes(body), now)).toBe('valid')
  })
  test.each(vectors('webhookRefused'))('refused: $name', ({ secret, headers, body, now, verdict }) => {
    expect(verifyWebhook(text(secret), headers, bytes(body), now)).toBe(verdict)
  })
})
