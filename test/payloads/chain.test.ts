// Encoded payloads through the whole chain: enqueued, dispatched, checkpointed, waited for and told of by webhook.

import {
  claimCheck,
  createClient,
  decodePayloads,
  encryptedPayloads,
  getJob,
  type PayloadCodec,
  waitFor,
} from 'millrace'
import { s3BlobStore } from 'millrace/aws'
import { handle, type Job, serve } from 'millrace/function'
import { deriveDispatchKeyring, formatKeyring, generateWebhookSecret } from 'millrace/protocol'
import * as v from 'valibot'
import { describe, expect, test } from 'vitest'
import { defineKind, toSql } from '../../core/index.ts'
import { listen } from '../support/http-server.ts'
import { keyring, startIngress } from '../support/ingress.ts'
import { freshDatabase } from '../support/maintenance.ts'
import { CREDENTIALS, REGION, startS3 } from '../support/s3-server.ts'
import { startWebhookEndpoint } from '../support/webhook-endpoint.ts'

const codec = encryptedPayloads(`d1:${'01'.repeat(32)}`)
const letter = defineKind({ name: 'letter', args: v.object({ to: v.string(), text: v.optional(v.string()) }) })
const modes = ['sync', 'callback'] as const

interface Options {
  readonly mode?: (typeof modes)[number]
  readonly client?: PayloadCodec
  readonly fn?: () => PayloadCodec | undefined
}

async function chain(
  run: (args: { to: string; text?: string | undefined }, job: Job) => unknown,
  options: Options = {},
) {
  const { mode = 'sync', client = codec, fn = () => client } = options
  const database = await freshDatabase()
  const dispatchKeys = formatKeyring(deriveDispatchKeyring(keyring))
  const receiver = serve({ kinds: [handle(letter, run)], dispatchKeys, codec: fn as () => PayloadCodec })
  const url = await listen(request => receiver.fetch(request))
  const ingress = await startIngress(toSql(database.sql), { compatible: false })
  const secret = generateWebhookSecret()
  const app = await startWebhookEndpoint(secret)
  await database.declare([{ name: 'letter', target: { url, mode } }], [{ name: 'app', url: app.url, secret }])
  const work = await database.maintain({ callbackUrl: ingress.url })
  const { sql } = database
  const end = (id: string) => waitFor(sql, id, { codec: client, timeoutSeconds: 15, pollMs: 50 })
  return { sql, work, app, end, ...createClient({ codec: client }) }
}

/** All that the engine keeps of jobs, as text. */
const kept = async (sql: Awaited<ReturnType<typeof freshDatabase>>['sql']): Promise<string> => {
  const rows = await sql`select coalesce(string_agg(t::text, ' '), '') as text from (
    select to_jsonb(j)::text from millrace.job_log j union all select to_jsonb(o)::text from millrace.outcome_log o
    union all select to_jsonb(s)::text from millrace.attempt_state s) t`
  return String(rows[0]?.text)
}

describe.each(modes)('%s mode', mode => {
  test('the function gets what was given, whoever waits gets what it returned, and the database sees neither', async () => {
    const { sql, enqueue, end, app } = await chain(({ to, text }) => ({ greeted: `${text} ${to}` }), { mode })
    const id = await enqueue(sql, letter, { to: 'alice', text: 'hello' })
    expect(await end(id)).toMatchObject({
      state: 'completed',
      args: { to: 'alice', text: 'hello' },
      result: { greeted: 'hello alice' },
    })
    const { event } = await app.deliveries.first({})
    expect(event.data).toMatchObject({ args: { 'millrace:enc': 'v1' }, result: { 'millrace:enc': 'v1' } })
    expect(await decodePayloads(codec, event.data)).toMatchObject({
      args: { to: 'alice' },
      result: { greeted: 'hello alice' },
    })
    expect(await kept(sql)).not.toMatch(/alice|hello/)
  })

  test('large payloads go by the store, in both directions', async () => {
    const { url, objects } = await startS3()
    const store = s3BlobStore({ url, region: REGION, credentials: CREDENTIALS })
    const stacked = claimCheck({ store, thresholdBytes: 1_000, codec })
    const { sql, enqueue, end } = await chain(({ text }) => [text, text], { mode, client: stacked })
    const text = 'x'.repeat(300_000)
    const { state, result } = await end(await enqueue(sql, letter, { to: 'bob', text }))
    expect([state, result]).toEqual(['completed', [text, text]])
    expect(objects.size).toBe(2)
    expect((await kept(sql)).length).toBeLessThan(10_000)
  })
})

test('a checkpoint is encoded, and decoded for the next attempt and for whoever looks', async () => {
  const seen: unknown[] = []
  const { sql, enqueue, end } = await chain(
    async (_, job) => {
      seen.push(job.progress)
      if (job.attempt > 1) return 'done'
      await job.setProgress({ percent: 40, metadata: { page: 7 } })
      await job.setProgress({ metadata: { mark: 'secret' } })
      expect(await kept(sql)).toMatch(/millrace:checkpoint/)
      throw new Error('once more')
    },
    { mode: 'callback' },
  )
  const id = await enqueue(sql, letter, { to: 'carol' })
  await end(id)
  expect(seen).toEqual([undefined, { percent: 40, metadata: { page: 7, mark: 'secret' } }])
  expect(await getJob(sql, id, { codec })).toMatchObject({ progress: { metadata: { page: 7, mark: 'secret' } } })
  expect(await kept(sql)).not.toMatch(/secret|"page"/)
})

test.each(modes)('%s mode: the checkpoint of a wait is encoded; events stay as they came', async mode => {
  const { sql, enqueue, end } = await chain(
    (_, job) => {
      const page = job.progress?.metadata?.page ?? 1
      const { payload } = job.waitForEvent('approval', { checkpoint: { page: 7 } })
      return { page, payload }
    },
    { mode },
  )
  const id = await enqueue(sql, letter, { to: 'carol' })
  await expect.poll(() => kept(sql)).toMatch(/millrace:checkpoint/)
  await sql`select millrace.send_event(${id}, 'approval', '{"by": "ann"}')`
  expect(await end(id)).toMatchObject({ state: 'completed', result: { page: 7, payload: { by: 'ann' } } })
  expect(await kept(sql)).not.toMatch(/"page"/)
})

test('keys that are mixed up lose nothing: the attempt has failed, the job goes on', async () => {
  let current = encryptedPayloads(`d1:${'02'.repeat(32)}`)
  const { sql, enqueue, end, work } = await chain(({ to }) => to, { fn: () => current })
  const id = await enqueue(sql, letter, { to: 'dave' })
  await work.closed(id, 'retryable')
  current = codec
  const { state, result, errors } = await end(id)
  expect({ state, result, code: errors[0]?.code }).toEqual({ state: 'completed', result: 'dave', code: 'http_500' })
  expect(errors[0]?.message).toContain('codec_failed')
})

test.each<[string, PayloadCodec | undefined]>([
  ['no codec', undefined],
  ['only a part of it', claimCheck({ store: { put: async () => {}, get: async () => undefined } })],
])('a function with %s runs nothing on envelopes, and loses nothing', async (_, first) => {
  let current = first
  const ran: string[] = []
  const { sql, enqueue, end, work } = await chain(({ to }) => ran.push(to), { fn: () => current })
  const id = await enqueue(sql, letter, { to: 'dora' })
  await work.closed(id, 'retryable')
  expect(ran).toEqual([])
  current = codec
  const { state, errors } = await end(id)
  expect({ state, code: errors[0]?.code, ran }).toEqual({ state: 'completed', code: 'http_500', ran: ['dora'] })
  expect(errors[0]?.message).toContain('codec_failed')
})

test('what was enqueued in plain SQL is taken as it is', async () => {
  const { sql, end } = await chain(({ to }) => to)
  const [row] = await sql`select millrace.enqueue('letter', '{"to": "erin"}') as id`
  expect(await end(String(row?.id))).toMatchObject({ state: 'completed', result: 'erin' })
})

test('unique keys are made of the arguments as they were, though no two envelopes are alike', async () => {
  const { sql, enqueueUnique } = await chain(() => undefined)
  const first = await enqueueUnique(sql, letter, { to: 'frank' }, { unique: true, delaySeconds: 60 })
  const second = await enqueueUnique(sql, letter, { to: 'frank' }, { unique: true, delaySeconds: 60 })
  expect(second).toEqual({ ...first, existing: true })
})

test('arguments are checked before they are encoded; a rolled back enqueue leaves its blob behind', async () => {
  const { url, objects } = await startS3()
  const store = s3BlobStore({ url, region: REGION, credentials: CREDENTIALS })
  const { sql, enqueue } = await chain(() => undefined, { client: claimCheck({ store, thresholdBytes: 10 }) })
  await expect(enqueue(sql, letter, { to: 7 as never })).rejects.toMatchObject({ code: 'invalid_args' })
  expect(objects.size).toBe(0)
  const undone = sql.begin(async tx => {
    await enqueue(tx, letter, { to: 'grace' })
    throw new Error('no')
  })
  await expect(undone).rejects.toThrow('no')
  expect(objects.size).toBe(1)
  expect(await kept(sql)).toBe('')
})

test('a result that cannot be encoded fails the attempt, which is retried', async () => {
  let stores = false
  const failing: PayloadCodec = {
    ...codec,
    encode: (text, context) => (stores ? codec.encode(text, context) : Promise.reject(new Error('the store is full'))),
  }
  const { sql, enqueue, end, work } = await chain(() => 'done', { fn: () => failing })
  const id = await enqueue(sql, letter, { to: 'heidi' })
  await work.closed(id, 'retryable')
  stores = true
  expect(await end(id)).toMatchObject({ state: 'completed', result: 'done' })
})
