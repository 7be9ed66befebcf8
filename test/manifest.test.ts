// Declarations on their way into the database: checked as a whole, synced as one version, read by raw SQL enqueuers.

import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import {
  defineKind,
  defineManifest,
  defineQueue,
  defineSchedule,
  type Queue,
  type Subscription,
  syncManifest,
} from '../core/index.ts'
import { useDatabase } from './support/database.ts'

const database = useDatabase()
const secret = `whsec_${btoa('x'.repeat(32))}`
const url = 'https://shop.example.com/hooks'
const receipt = defineKind({
  name: 'render_receipt',
  args: v.object({ orderId: v.number() }),
  queue: 'receipts',
  priority: 1,
  maxAttempts: 5,
  timeLimitSeconds: 60,
  retry: { strategy: 'list', delaysSeconds: [1, 5], jitter: 0 },
  target: {
    url: 'https://receipts.example.com/jobs',
    mode: 'sync',
    requestTimeoutSeconds: 10,
    headers: { 'x-team': 'shop' },
  },
})
const plain = defineKind({ name: 'plain', args: v.unknown() })
const shop: Subscription = { name: 'shop', kinds: [receipt, 'plain', 'plain'], events: ['completed'], url, secret }

const rows = async (text: string) => [...(await database.sql.unsafe(text))]

const invalid = (message: string) =>
  expect.objectContaining({ code: 'invalid_declaration', message: expect.stringContaining(message) })
const nightly = defineSchedule({
  name: 'nightly',
  cron: '30 2 * * *',
  timezone: 'Europe/Berlin',
  kind: receipt,
  args: { orderId: 7 },
  tags: ['night'],
  overlap: 'skip',
})
const receipts = defineQueue({
  name: 'receipts',
  weight: 2,
  maxRunning: 10,
  rate: { perSecond: 5, burst: 20 },
  keyRate: { perSecond: 0.5 },
  deadLetters: false,
  retention: { finishedSeconds: 60, failedSeconds: 120, deadLetterSeconds: 180 },
})

describe('defineManifest', () => {
  it.each([
    [{ url: 'shop/hooks' }, 'absolute'],
    [{ url: 'mailto:shop@example.com' }, 'absolute'],
    [{ secret: 'whsec_c2hvcnQ=' }, '24 to 64 bytes'],
    [{ secret: btoa('x'.repeat(32)) }, 'whsec_'],
    [{ secret: `whsec_${'*'.repeat(44)}` }, 'base64'],
    [{ secret: `whsec_${btoa('x'.repeat(65))}` }, '24 to 64 bytes'],
    [{ events: ['started' as 'failed'] }, 'no such event: started'],
    [{ events: [] }, 'events is empty'],
    [{ kinds: [] }, 'kinds is empty'],
    [{ name: '' }, '1 to 200'],
    [{ name: 'millrace.own' }, 'built in'],
  ] satisfies [Partial<Subscription>, string][])('refuses a subscription with %j', (part, message) => {
    expect(() => defineManifest({ subscriptions: [{ ...shop, ...part }] })).toThrow(invalid(message))
  })

  it('refuses a name that is declared twice', () => {
    expect(() => defineManifest({ kinds: [plain, plain] })).toThrow(invalid('"plain" is declared twice'))
    expect(() => defineManifest({ subscriptions: [shop, shop] })).toThrow(invalid('"shop" is declared twice'))
    expect(() => defineManifest({ schedules: [nightly, nightly] })).toThrow(invalid('"nightly" is declared twice'))
    expect(() => defineManifest({ queues: [receipts, receipts] })).toThrow(invalid('"receipts" is declared twice'))
  })

  it('checks kinds that were not made with defineKind, and never quotes a secret', () => {
    expect(() => defineManifest({ kinds: [{ ...plain, priority: 9 }] })).toThrow(invalid('priority'))
    expect(() => defineManifest({ subscriptions: [{ ...shop, secret: 'hunter2' }] })).toThrow(/^(?!.*hunter2)/)
  })
})

describe('defineQueue', () => {
  it.each([
    [{ name: '' }, '1 to 200'],
    [{ name: 'millrace.webhooks' }, 'built in'],
    [{ weight: 0 }, 'weight'],
    [{ weight: Number.NaN }, 'weight'],
    [{ shards: 65 }, 'shards'],
    [{ maxRunning: 0.5 }, 'maxRunning'],
    [{ rate: {} as { perSecond: number } }, 'perSecond is missing'],
    [{ rate: { perSecond: 0 } }, 'rate: perSecond'],
    [{ keyRate: { perSecond: 1, burst: 0 } }, 'keyRate: burst'],
    [{ retention: { failedSeconds: -1 } }, 'retention: failedSeconds'],
  ] satisfies [Partial<Queue>, string][])('refuses %j', (part, message) => {
    expect(() => defineQueue({ ...receipts, ...part })).toThrow(invalid(message))
  })
})

describe('syncManifest', () => {
  it('writes what was declared, and nothing the second time', async () => {
    const manifest = defineManifest({ kinds: [receipt, plain], subscriptions: [shop] })

    const first = await syncManifest(database.sql, manifest)
    const second = await syncManifest(database.sql, manifest)

    expect(first).toMatchObject({ changed: true, removed: [] })
    expect(second).toMatchObject({ changed: false, removed: [], version: first.version })
    expect(await rows(`select * from millrace.kind where source = 'default' order by name desc`)).toEqual([
      {
        ...{ name: 'render_receipt', queue: 'receipts', priority: 1, max_attempts: 5, source: 'default' },
        time_limit_seconds: 60,
        retry: { strategy: 'list', delays_seconds: [1, 5], jitter: 0 },
        target: {
          url: 'https://receipts.example.com/jobs',
          mode: 'sync',
          request_timeout_seconds: 10,
          headers: { 'x-team': 'shop' },
        },
      },
      {
        ...{ name: 'plain', queue: null, priority: null, max_attempts: null, time_limit_seconds: null, retry: null },
        ...{ target: null, source: 'default' },
      },
    ])
    expect(await rows('select to_jsonb(e) as endpoint from millrace.endpoint e')).toEqual([
      {
        endpoint: expect.objectContaining({
          ...{ name: 'shop', url, source: 'default', signature: 'v1', tenant: null, disabled_at: null },
          kinds: ['render_receipt', 'plain'],
          events: ['completed'],
        }),
      },
    ])
    expect(await rows('select endpoint, secret from millrace.endpoint_secret')).toEqual([{ endpoint: 'shop', secret }])
    expect(JSON.stringify(await rows('select body from millrace.manifest'))).not.toContain(secret)
  })

  it('writes schedules and queues', async () => {
    await syncManifest(database.sql, defineManifest({ schedules: [nightly], queues: [receipts] }), { source: 'timely' })

    expect(await rows(`select to_jsonb(s) as schedule from millrace.schedule s where source = 'timely'`)).toEqual([
      {
        schedule: expect.objectContaining({
          ...{ name: 'nightly', expression: '30 2 * * *', timezone: 'Europe/Berlin', kind: 'render_receipt' },
          ...{ args: { orderId: 7 }, time_arg: null, queue: null, priority: null, max_attempts: null, metadata: null },
          ...{ tags: ['night'], missed: 'coalesce', overlap: 'skip', next_at: null, last_job: null, skipped: 0 },
        }),
      },
    ])
    expect(await rows(`select to_jsonb(q) as queue from millrace.queue q where source = 'timely'`)).toEqual([
      {
        queue: expect.objectContaining({
          ...{ name: 'receipts', weight: 2, shards: null, max_running: 10, rate: 5, burst: 20 },
          ...{ key_rate: 0.5, key_burst: null, dead_letters: false, paused_at: null },
          ...{ retention_seconds: 60, failed_retention_seconds: 120, dead_letter_retention_seconds: 180 },
        }),
      },
    ])
    await syncManifest(database.sql, defineManifest({}), { source: 'timely' })
  })

  it('asks asynchronous schemas about the arguments of schedules', async () => {
    const args = v.pipeAsync(
      v.object({ orderId: v.number() }),
      v.checkAsync(async ({ orderId }) => orderId > 7, 'too small'),
    )
    const kind = defineKind({ name: 'async', args })
    const manifest = defineManifest({ schedules: [{ ...nightly, kind }] })
    await expect(syncManifest(database.sql, manifest)).rejects.toMatchObject({
      code: 'invalid_args',
      message: expect.stringContaining('too small'),
    })
  })

  it('gives raw SQL enqueuers the defaults of the kind', async () => {
    await syncManifest(database.sql, defineManifest({ kinds: [receipt] }))

    const [enqueued] = await rows(`select millrace.enqueue('render_receipt', '{"orderId":42}') as id`)
    const [found] = await rows(`select millrace.job(${enqueued?.id}) as job`)
    expect(found?.job).toMatchObject({ queue: 'receipts', priority: 1, max_attempts: 5 })
  })

  it('removes what is no longer declared, and leaves the declarations of other sources alone', async () => {
    const other = defineKind({ name: 'other', args: v.unknown() })
    await syncManifest(database.sql, defineManifest({ kinds: [other] }), { source: 'billing' })
    await syncManifest(database.sql, defineManifest({ kinds: [receipt, plain], subscriptions: [shop] }))

    const before = await syncManifest(database.sql, defineManifest({ kinds: [receipt] }))

    expect(before).toMatchObject({ changed: true, removed: ['plain', 'shop'] })
    expect(await rows('select name, source from millrace.kind order by name')).toEqual([
      { name: 'other', source: 'billing' },
      { name: 'render_receipt', source: 'default' },
    ])
  })

  it('refuses a name that another source has declared', async () => {
    await syncManifest(database.sql, defineManifest({ kinds: [receipt] }))
    const again = syncManifest(database.sql, defineManifest({ kinds: [receipt] }), { source: 'copy' })

    await expect(again).rejects.toMatchObject({
      code: 'invalid_declaration',
      message: expect.stringContaining('render_receipt'),
    })
  })
})
