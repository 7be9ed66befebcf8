// Blobs in S3: every request signed for what it is, and told apart by what it is answered.

import { s3BlobStore } from 'millrace/aws'
import { describe, expect, test } from 'vitest'
import { CREDENTIALS, REGION, startS3 } from '../support/s3-server.ts'

const options = { region: REGION, credentials: CREDENTIALS }
const bytes = Uint8Array.from({ length: 30_000 }, (_, n) => n % 251)

test('what was put is what is got, byte for byte; what was not is undefined', async () => {
  const { url, objects } = await startS3()
  const store = s3BlobStore({ ...options, url: `${url}/` })
  await store.put('millrace/ab-cd', bytes)
  expect([...objects.keys()]).toEqual(['millrace/ab-cd'])
  expect(await store.get('millrace/ab-cd')).toEqual(bytes)
  expect(await store.get('millrace/other')).toBeUndefined()
})

test('credentials may change between calls', async () => {
  const { url } = await startS3()
  const given = [{ ...CREDENTIALS, secretAccessKey: 'expired' }, CREDENTIALS]
  const store = s3BlobStore({ ...options, url, credentials: async () => given.shift() ?? CREDENTIALS })
  await expect(store.put('a', bytes)).rejects.toThrow('SignatureDoesNotMatch')
  await store.put('a', bytes)
})

describe('is refused, in words without bucket and key', () => {
  test.each([
    ['another secret', { credentials: { ...CREDENTIALS, secretAccessKey: 'x' } }, 'SignatureDoesNotMatch'],
    ['another region', { region: 'us-east-1' }, 'InvalidAccessKeyId'],
    ['no session token', { credentials: { ...CREDENTIALS, sessionToken: undefined } }, 'InvalidToken'],
  ])('%s', async (_, wrong, code) => {
    const { url, objects } = await startS3()
    const store = s3BlobStore({ ...options, url, ...wrong })
    await expect(store.put('a', bytes)).rejects.toThrow(`PUT was answered 403 (${code})`)
    await expect(store.get('a')).rejects.toThrow(`GET was answered 403 (${code})`)
    expect(objects.size).toBe(0)
  })
})

test('a store that is busy is asked again', async () => {
  const { url, objects, failNext } = await startS3()
  const store = s3BlobStore({ ...options, url })
  failNext(503, 500, 429)
  await store.put('a', bytes)
  expect(objects.size).toBe(1)
  failNext(503)
  expect(await store.get('a')).toEqual(bytes)
})
