// Functions and the callback ingress as Workers, in workerd: the same code as anywhere, with Hyperdrive to the database.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { waitFor } from 'millrace'
import { deriveDispatchKeyring, eventKey, eventToken, formatKeyring } from 'millrace/protocol'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { processes } from '../examples/shop/demo/processes.ts'
import { wranglerDev } from '../examples/shop/demo/wrangler.ts'
import { useDatabase } from './support/database.ts'
import { keyring } from './support/ingress.ts'
import { workOn } from './support/maintenance.ts'

const file = (name: string): string => fileURLToPath(new URL(`edge/${name}`, import.meta.url))
const shared = useDatabase()
const running = processes(() => undefined)
let folder = ''
let worker = ''

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-edge-'))
  const variables = {
    MILLRACE_KEYS: formatKeyring(keyring),
    MILLRACE_DISPATCH_KEYS: formatKeyring(deriveDispatchKeyring(keyring)),
  }
  const options = { databaseUrl: shared.url, folder, variables }
  const command = await wranglerDev(file('worker.ts'), file('wrangler.jsonc'), options)
  worker = await running.start({ name: 'edge', title: 'the Worker', ...command })
})

afterAll(async () => {
  await running.stop()
  await rm(folder, { recursive: true, force: true })
})

/** Maintenance outside, everything else in workerd. */
async function edge(mode: 'sync' | 'callback') {
  const database = workOn(shared)
  await database.declare([{ name: 'resize', target: { url: `${worker}/jobs`, mode } }])
  const work = await database.maintain({ listen: true, callbackUrl: worker })
  /** In callback mode the Worker closes the job and nobody here is told, so it is asked. */
  const end = async (args: object) => {
    const id = await database.enqueue('resize', args)
    await work.events.first({ type: mode === 'sync' ? 'closed' : 'parked', job: id })
    await expect.poll(() => database.job(id), { timeout: 10_000 }).toHaveProperty('finished_at', expect.any(String))
    return database.job(id)
  }
  const waits = async (args: object) => {
    const id = await database.enqueue('resize', args)
    await expect.poll(() => database.job(id), { timeout: 10_000 }).toHaveProperty('wait.name', 'width')
    return id
  }
  return { database, end, waits }
}

test.each(['sync', 'callback'] as const)('%s mode: a Worker does the job', async mode => {
  const { end } = await edge(mode)
  const job = await end({ width: 4 })
  expect(job).toMatchObject({ state: 'completed', attempt: 1, result: { height: 8, runsOn: 'Cloudflare-Workers' } })
})

test.each(['sync', 'callback'] as const)('%s mode: what a Worker gives up on has failed', async mode => {
  const { end } = await edge(mode)
  const job = await end({ width: -1 })
  expect(job).toMatchObject({ state: 'failed', attempt: 1 })
  expect(job.errors[0]?.message).toContain('a width is not negative')
})

test.each(['sync', 'callback'] as const)('%s mode: a Worker waits, and takes the event by its token', async mode => {
  const { database, waits } = await edge(mode)
  const id = await waits({ width: 0 })
  const token = eventToken(eventKey(keyring.keys[0], id), id, 'width')
  const response = await fetch(`${worker}/api/events/${token}`, { method: 'POST', body: '{"width": 7}' })
  expect(await response.json()).toEqual({ state: 'applied', job_state: 'available' })
  expect((await waitFor(database.sql, id)).result).toMatchObject({ payload: 7 })
})

test('the ingress in workerd refuses what is not signed', async () => {
  const url = `${worker}/api/callbacks/k1.0.1.1/complete`
  const response = await fetch(url, { method: 'POST', body: '{}', headers: { 'x-awa-signature': '00'.repeat(32) } })
  expect(response.status).toBe(401)
  expect(await response.json()).toMatchObject({ code: 'invalid_signature' })
})
