// Awa's bearer header: sent unless the deployment or the kind is without it.

import { expect, test } from 'vitest'
import { startFunctionServer } from '../support/function-server.ts'
import { freshDatabase } from '../support/maintenance.ts'

test.each([
  ['neither says anything', {}, undefined, true],
  ['the kind is without it', {}, false, false],
  ['the deployment is without it', { compatible: false }, true, false],
])('%s', async (_, options, compatible, isSent) => {
  const database = await freshDatabase()
  const fn = await startFunctionServer(() => ({ status: 202 }))
  await database.declare([{ name: 'work', target: { url: fn.url, ...(compatible !== undefined && { compatible }) } }])
  await database.maintain({ callbackUrl: 'https://callbacks.example.com', ...options })
  await database.enqueue('work')
  const { headers } = await fn.received.first({})
  expect(headers).toHaveProperty('millrace-attempt-key')
  expect('x-awa-signature' in headers).toBe(isSent)
})
