// Declarations in the database: a version for every change, one owner for every name.

import type postgres from 'postgres'
import { describe, expect, it } from 'vitest'
import { only, useEngine } from '../support/engine-database.ts'

const database = useEngine()

interface Synced {
  readonly version: number
  readonly changed: boolean
  readonly removed: readonly string[]
}

const kinds = (...names: string[]) => ({ kinds: names.map(name => ({ name })), subscriptions: [] })

async function sync(manifest: object, source = 'shop', client: postgres.Sql = database.sql): Promise<Synced> {
  const rows = await client<{ synced: Synced }[]>`
    select millrace.sync_manifest(${JSON.stringify(manifest)}::text::jsonb, ${source}) as synced`
  return only(rows).synced
}

const declared = async () =>
  (await database.sql<{ name: string }[]>`select name from millrace.kind order by name`).map(({ name }) => name)

describe('a manifest', () => {
  it('makes a new version when it changes, and none when it does not', async () => {
    const first = await sync(kinds('a'))
    expect(first).toMatchObject({ changed: true, removed: [] })
    expect(await sync(kinds('a'))).toEqual({ version: first.version, changed: false, removed: [] })
    const second = await sync(kinds('a', 'b'))
    expect(second.version).toBeGreaterThan(first.version)
    const back = await sync(kinds('a'))
    expect(back).toMatchObject({ changed: true, removed: ['b'] })
    expect(back.version).toBeGreaterThan(second.version)
    expect(await database.sql`select from millrace.manifest`).toHaveLength(3)
  })

  it('is the same whatever the order of its keys', async () => {
    await sync({ kinds: [{ name: 'a', priority: 1 }], subscriptions: [] })
    expect(await sync({ subscriptions: [], kinds: [{ priority: 1, name: 'a' }] })).toMatchObject({ changed: false })
  })

  it('changes what was declared before, down to what it leaves out', async () => {
    await sync({
      kinds: [{ name: 'a', queue: 'slow', priority: 4, max_attempts: 3, time_limit_seconds: 9, retry: {}, target: {} }],
    })
    await sync({ kinds: [{ name: 'a', queue: 'fast' }] })
    const left = { priority: null, max_attempts: null, time_limit_seconds: null, retry: null, target: null }
    expect([...(await database.sql`select * from millrace.kind`)]).toEqual([
      { name: 'a', queue: 'fast', ...left, source: 'shop' },
    ])
  })

  it('removes kinds and subscriptions of its own source only', async () => {
    const subscription = { name: 'hook', events: ['completed'], url: 'https://a.example', secret: 's' }
    await sync({ kinds: [{ name: 'a' }, { name: 'b' }], subscriptions: [subscription] })
    await sync(kinds('c'), 'billing')
    expect(await sync(kinds('b'))).toMatchObject({ removed: ['a', 'hook'] })
    expect(await declared()).toEqual(['b', 'c'])
    expect(await database.sql`select from millrace.subscription`).toHaveLength(0)
    expect(await sync({}, 'billing')).toMatchObject({ removed: ['c'] })
  })
})

describe('a name', () => {
  const clash = { code: '23505', constraint_name: 'invalid_declaration' }

  it('that another source declares is refused, and nothing is changed', async () => {
    await sync(kinds('a'))
    await expect(sync(kinds('b', 'a'), 'billing')).rejects.toMatchObject({
      ...clash,
      message: expect.stringContaining('a (declared by shop)'),
    })
    expect(await declared()).toEqual(['a'])
    expect(await database.sql`select from millrace.manifest`).toHaveLength(1)
  })

  it('may move to another source once the first has let it go', async () => {
    await sync(kinds('a'))
    await sync(kinds('b'))
    expect(await sync(kinds('a'), 'billing')).toMatchObject({ changed: true })
  })

  it('may be that of a kind and of a subscription, of different sources', async () => {
    await sync(kinds('a'))
    const subscription = { name: 'a', events: ['completed'], url: 'https://a.example', secret: 's' }
    expect(await sync({ kinds: [], subscriptions: [subscription] }, 'billing')).toMatchObject({ changed: true })
  })
})

describe('concurrent syncs', () => {
  it('of one manifest make one version', async () => {
    const clients = await database.connections(6)
    const synced = await Promise.all(clients.map(client => sync(kinds('a', 'b'), 'shop', client)))
    expect(synced.filter(({ changed }) => changed)).toHaveLength(1)
    expect(new Set(synced.map(({ version }) => version)).size).toBe(1)
  })

  it('of different manifests end with the last version whole', async () => {
    const clients = await database.connections(6)
    const names = clients.map((_, n) => [`only in ${n}`, 'in all'])
    const synced = await Promise.all(clients.map((client, n) => sync(kinds(...(names[n] ?? [])), 'shop', client)))
    const last = Math.max(...synced.map(({ version }) => version))
    const winner = synced.findIndex(({ version }) => version === last)
    expect(await declared()).toEqual(names[winner]?.toSorted())
  })

  it('of two sources that declare one name give it to one', async () => {
    const clients = await database.connections(2)
    const results = await Promise.allSettled(clients.map((client, n) => sync(kinds('a'), `source ${n}`, client)))
    expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
  })
})
