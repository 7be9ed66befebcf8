// Declarations on their way into the database: checked as a whole, synced as one version, read by raw SQL enqueuers.

import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import { defineKind, defineManifest, type Subscription, syncManifest } from '../core/index.ts'
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

describe('defineManifest', () => {
  const invalid = (message: string) =>
    expect.objectContaining({ code: 'invalid_declaration', message: expect.stringContaining(message) })

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
  })

  it('checks kinds that were not made with defineKind, and never quotes a secret', () => {
    expect(() => defineManifest({ kinds: [{ ...plain, priority: 9 }] })).toThrow(invalid('priority'))
    expect(() => defineManifest({ subscriptions: [{ ...shop, secret: 'hunter2' }] })).toThrow(/^(?!.*hunter2)/)
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
        retry: { strategy: 'list', delays_seconds: [1, 5], jitter: 0 },
        target: {
          url: 'https://receipts.example.com/jobs',
          mode: 'sync',
          request_timeout_seconds: 10,
          headers: { 'x-team': 'shop' },
        },
      },
      { name: 'plain', queue: null, priority: null, max_attempts: null, retry: null, target: null, source: 'default' },
    ])
    expect(await rows('select to_jsonb(s) as subscription from millrace.subscription s')).toEqual([
      {
        subscription: {
          ...{ name: 'shop', url, secret, source: 'default' },
          kinds: ['render_receipt', 'plain'],
          events: ['completed'],
        },
      },
    ])
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
