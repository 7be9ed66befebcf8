// Blobs in R2, in workerd, through the binding.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { claimCheck, encryptedPayloads } from 'millrace'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { processes } from '../../examples/shop/demo/processes.ts'
import { wranglerDev } from '../../examples/shop/demo/wrangler.ts'
import { memoryBlobs } from '../support/memory-blobs.ts'

const file = (name: string): string => fileURLToPath(new URL(`../edge/${name}`, import.meta.url))
const dataKeys = `d1:${'01'.repeat(32)}`
const running = processes(() => undefined)
let folder = ''
let worker = ''

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-payloads-'))
  // Its configuration has no database.
  const options = { databaseUrl: 'postgres://127.0.0.1:1/none', folder, variables: { MILLRACE_DATA_KEYS: dataKeys } }
  const command = await wranglerDev(file('payloads.ts'), file('payloads.jsonc'), options)
  worker = await running.start({ name: 'payloads', title: 'the Worker', ...command })
}, 60_000)

afterAll(async () => {
  await running.stop()
  await rm(folder, { recursive: true, force: true })
})

const post = async (path: string, value: unknown) => {
  const response = await fetch(`${worker}${path}`, { method: 'POST', body: JSON.stringify(value) })
  return { status: response.status, body: await response.json().catch(() => undefined) }
}
const kept = async (): Promise<unknown> => (await fetch(worker)).json()

test('a Worker keeps what is large in R2, and gets it back; what is small it does not', async () => {
  const [large, small] = [{ text: 'x'.repeat(200_000) }, { text: 'x' }]
  const [reference, envelope] = [(await post('/encode', large)).body, (await post('/encode', small)).body]
  expect(await kept()).toEqual([{ key: reference.key, size: reference.bytes }])
  expect((await post('/decode', reference)).body).toEqual(large)
  expect((await post('/decode', envelope)).body).toEqual(small)
  expect((await post('/decode', { ...reference, key: reference.key.replace(/.$/, '?') })).status).toBe(500)

  // Node reads what a Worker has encrypted.
  const codec = claimCheck({ store: memoryBlobs().store, codec: encryptedPayloads(dataKeys) })
  expect(await codec.decode(envelope, { kind: 'render' })).toEqual(small)
})
