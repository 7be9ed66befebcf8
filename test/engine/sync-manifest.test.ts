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

const secret = `whsec_${btoa('x'.repeat(24))}`
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
    const target = { url: 'https://a.example' }
    await sync({
      kinds: [{ name: 'a', queue: 'slow', priority: 4, max_attempts: 3, time_limit_seconds: 9, retry: {}, target }],
    })
    await sync({ kinds: [{ name: 'a', queue: 'fast' }] })
    const left = { priority: null, max_attempts: null, time_limit_seconds: null, retry: null, target: null }
    expect([...(await database.sql`select * from millrace.kind`)]).toEqual([
      { name: 'a', queue: 'fast', ...left, source: 'shop' },
    ])
  })

  it('removes kinds and subscriptions of its own source only', async () => {
    const subscription = { name: 'hook', events: ['completed'], url: 'https://a.example', secret }
    await sync({ kinds: [{ name: 'a' }, { name: 'b' }], subscriptions: [subscription] })
    await sync(kinds('c'), 'billing')
    expect(await sync(kinds('b'))).toMatchObject({ removed: ['a', 'hook'] })
    expect(await declared()).toEqual(['b', 'c'])
    expect(await database.sql`select from millrace.endpoint`).toHaveLength(0)
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
    const subscription = { name: 'a', events: ['completed'], url: 'https://a.example', secret }
    expect(await sync({ kinds: [], subscriptions: [subscription] }, 'billing')).toMatchObject({ changed: true })
  })
})

describe('a schedule', () => {
  const hourly = { name: 'hourly', expression: '0 * * * *', kind: 'report', args: {} }
  const schedules = (part: object = {}) => ({ schedules: [{ ...hourly, ...part }] })
  const state = async () =>
    only(
      await database.sql`
        select expression, kind, done_to::text, next_at::text, last_job, skipped::int, error, paused_by,
          now() - done_to < interval '1 minute' as from_now
        from millrace.schedule`,
    )
  const live = () => database.sql`
    update millrace.schedule set done_to = '2026-05-01', next_at = '2026-05-02', last_job = 7, skipped = 3, paused_at = now(),
      paused_by = 'anna', error = null`

  it('keeps its pause and how far it has come when it changes', async () => {
    await sync(schedules())
    await live()
    const before = await state()
    await sync(schedules({ kind: 'other', args: { x: 1 }, overlap: 'skip' }))
    expect(await state()).toEqual({ ...before, kind: 'other' })
  })

  it.each([{ expression: '5 * * * *' }, { timezone: 'Europe/Berlin' }])(
    'starts from now with another expression or zone: %j',
    async part => {
      await sync(schedules())
      await live()
      await sync(schedules(part))
      expect(await state()).toMatchObject({
        next_at: null,
        from_now: true,
        paused_by: 'anna',
        last_job: '7',
        skipped: 3,
      })
    },
  )

  it('that could not be fired is tried again at once when it changes', async () => {
    await sync(schedules())
    await live()
    await database.sql`update millrace.schedule set error = '{"tries": 9}'`
    await sync(schedules({ priority: 1 }))
    expect(await state()).toMatchObject({ next_at: null, error: null, from_now: false })
  })

  it('goes when it is declared no longer, and belongs to one source', async () => {
    await sync(schedules())
    await expect(sync(schedules(), 'billing')).rejects.toMatchObject({ constraint_name: 'invalid_declaration' })
    expect(await sync({})).toMatchObject({ removed: ['hourly'] })
    expect(await database.sql`select from millrace.schedule`).toHaveLength(0)
  })
})

describe('a queue', () => {
  const queues = (...declarations: object[]) => ({ queues: declarations })
  const all = async () => (await database.sql`select to_jsonb(q) as queue from millrace.queue q`).map(row => row.queue)

  it('takes over a row that an operator made, keeps the pause, and gives the row back', async () => {
    await database.sql`insert into millrace.queue (name, paused_at, paused_by) values ('mails', now(), 'anna')`
    await sync(queues({ name: 'mails', weight: 3, max_running: 5 }))
    expect(await all()).toMatchObject([{ name: 'mails', weight: 3, max_running: 5, source: 'shop', paused_by: 'anna' }])
    await sync(queues({ name: 'mails', weight: 4 }))
    expect(await all()).toMatchObject([{ weight: 4, max_running: null, paused_by: 'anna' }])
    expect(await sync({})).toMatchObject({ removed: ['mails'] })
    expect(await all()).toMatchObject([{ name: 'mails', weight: null, source: null, paused_by: 'anna' }])
  })

  it('belongs to one source', async () => {
    await sync(queues({ name: 'mails' }))
    await expect(sync(queues({ name: 'mails' }), 'billing')).rejects.toMatchObject({
      constraint_name: 'invalid_declaration',
      message: expect.stringContaining('mails (declared by shop)'),
    })
  })
})

describe('what could never work is refused, with every reason', () => {
  const kind = { name: 'a' }
  const schedule = { name: 's', expression: '* * * * *', kind: 'a', args: {} }
  const subscription = { name: 'shop', events: ['completed'], url: 'https://a.example', secret }
  it.each([
    ['kinds', { ...kind, priority: 5 }, "kind 'a': invalid_priority"],
    ['kinds', { ...kind, max_attempts: 0 }, "kind 'a': invalid_max_attempts"],
    ['kinds', { ...kind, queue: '' }, "kind 'a': invalid_queue"],
    ['kinds', { name: 'millrace.own' }, 'invalid_kind'],
    ['kinds', {}, 'kind without a name: invalid_kind'],
    ['kinds', { ...kind, time_limit_seconds: 0 }, 'time_limit_seconds'],
    ['kinds', { ...kind, retry: { strategy: 'never' } }, 'retry is'],
    ['kinds', { ...kind, retry: 'linear' }, 'retry is'],
    ['kinds', { ...kind, target: 'https://a.example' }, 'target is'],
    ['kinds', { ...kind, target: { url: 'ftp://a.example' } }, 'target is'],
    ['kinds', { ...kind, target: { url: 'https://u:p@a.example' } }, 'credentials'],
    ['kinds', { ...kind, target: { url: 'https://a.example', mode: 'async' } }, 'mode is'],
    ['kinds', { ...kind, target: { url: 'https://a.example', compatible: 'no' } }, 'compatible is'],
    ['kinds', { ...kind, target: { url: 'https://a.example', headers: 'x' } }, 'headers are an object'],
    ['kinds', { ...kind, target: { url: 'https://a.example', headers: { 'x-a': 1 } } }, 'headers are texts'],
    ['kinds', { ...kind, target: { url: 'https://a.example', headers: { 'x a': '1' } } }, 'HTTP can carry'],
    ['kinds', { ...kind, target: { url: 'https://a.example', headers: { 'x-a': '1\r\nx-b: 2' } } }, 'HTTP can carry'],
    ['kinds', { ...kind, target: { url: 'https://a.example', headers: { 'x-a': '→' } } }, 'HTTP can carry'],
    ['kinds', { ...kind, target: { url: 'https://a.example', headers: { 'Content-Length': '5' } } }, 'HTTP can carry'],
    [
      'kinds',
      { ...kind, target: { url: 'https://a.example', headers: { 'x-a': { secret: 'A-B' } } } },
      'headers are texts',
    ],
    ['kinds', { ...kind, target: { url: 'https://a.example', auth: 'oidc' } }, 'auth: type'],
    ['kinds', { ...kind, target: { url: 'https://a.example', auth: { type: 'basic' } } }, 'auth: type'],
    [
      'kinds',
      { ...kind, target: { url: 'https://a.example', auth: { type: 'oidc', audience: '' } } },
      'auth: audience',
    ],
    ['kinds', { ...kind, target: { url: 'https://a.example', auth: { type: 'aws_sigv4' } } }, 'auth: region'],
    [
      'kinds',
      { ...kind, target: { url: 'https://a.example', headers: { Authorization: 'x' }, auth: { type: 'oidc' } } },
      'declared already',
    ],
    ['kinds', { ...kind, target: { url: 'https://a.example', lambda: { function: 'f' } } }, 'either a url or a lambda'],
    ['kinds', { ...kind, target: { lambda: { function: 'f' }, auth: { type: 'oidc' } } }, 'are for URLs'],
    ['kinds', { ...kind, target: { lambda: { function: 'a b' } } }, 'lambda: function is'],
    ['kinds', { ...kind, target: { lambda: {} } }, 'lambda: function is'],
    ['kinds', { ...kind, target: { lambda: 'f' } }, 'lambda: function is'],
    ['kinds', { ...kind, target: { lambda: { function: 'f', region: 'EU' } } }, 'lambda: function is'],
    ['kinds', { ...kind, target: { lambda: { function: 'f' }, mode: 'later' } }, 'mode is'],
    ['subscriptions', { ...subscription, name: '' }, 'name has'],
    ['subscriptions', { ...subscription, url: 'a.example' }, "subscription 'shop': url is"],
    ['subscriptions', { ...subscription, url: 'https://u@a.example/?to=b@c' }, 'no credentials'],
    ['subscriptions', { ...subscription, events: undefined }, 'events are'],
    ['subscriptions', { ...subscription, events: ['started'] }, 'events are'],
    ['subscriptions', { ...subscription, kinds: [] }, 'kinds is empty'],
    ['subscriptions', { ...subscription, secret: 'whsec_dG9vIHNob3J0' }, '24 to 64 bytes'],
    ['subscriptions', { ...subscription, secret: `whsec_${btoa('x'.repeat(65))}` }, '24 to 64 bytes'],
    ['schedules', { ...schedule, kind: '' }, "schedule 's': invalid_kind"],
    ['schedules', { ...schedule, priority: 0 }, 'invalid_priority'],
    ['schedules', { ...schedule, tags: [''] }, 'invalid_tags'],
    ['schedules', { ...schedule, metadata: { 'awa:x': 1 } }, 'invalid_metadata'],
    ['schedules', { ...schedule, metadata: { schedule: 1 } }, 'metadata.schedule'],
    ['schedules', { ...schedule, args: 'x'.repeat(1_100_000) }, 'payload_too_large'],
    ['schedules', { ...schedule, expression: '* * *' }, 'expression has 5 or 6 fields'],
    ['schedules', { ...schedule, expression: null }, 'expression has 5 or 6 fields'],
    ['schedules', { ...schedule, missed: 'never' }, 'missed is'],
    ['schedules', { ...schedule, overlap: 'never' }, 'overlap is'],
    ['schedules', { ...schedule, args: [1], time_arg: 'at' }, 'time_arg needs'],
    ['schedules', { ...schedule, args: null, time_arg: 'at' }, 'time_arg needs'],
    ['schedules', { ...schedule, name: null }, 'name has'],
    ['queues', { name: 'q', weight: 0 }, "queue 'q': weight"],
    ['queues', { name: 'q', shards: 65 }, 'shards'],
    ['queues', { name: 'q', max_running: 0 }, 'max_running'],
    ['queues', { name: 'q', rate: -1 }, 'rate'],
    ['queues', { name: 'q', burst: 1 }, 'a burst needs a rate'],
    ['queues', { name: 'q', key_rate: 1, key_burst: 0 }, 'burst'],
    ['queues', { name: 'q', retention_seconds: -1 }, 'retentions'],
    ['queues', { name: 'millrace.webhooks' }, 'name has'],
  ])('%s %o', async (what, declaration, reason) => {
    const shown = JSON.stringify(declaration).length < 1000 ? declaration : {}
    await expect(sync({ [what]: [declaration] }), JSON.stringify(shown)).rejects.toMatchObject({
      code: '23514',
      constraint_name: 'invalid_declaration',
      message: expect.stringContaining(reason),
    })
    expect(await database.sql`select from millrace.manifest`).toHaveLength(0)
  })

  it.each([24, 25, 26, 62, 63, 64])('a secret of %i bytes is none of them', async bytes => {
    const whole = { ...subscription, secret: `whsec_${btoa('x'.repeat(bytes))}` }
    expect(await sync({ subscriptions: [whole] })).toMatchObject({ changed: true })
  })

  it.each([{ kindz: [] }, { kinds: {} }, { kinds: 'a' }, { queues: null }, []])('%o is no manifest', async manifest => {
    await sync(kinds('a'))
    await expect(sync(manifest)).rejects.toMatchObject({
      constraint_name: 'invalid_declaration',
      message: expect.stringContaining('a manifest is'),
    })
    expect(await declared()).toEqual(['a'])
  })

  it('all of them at once, and names that are declared twice', async () => {
    await expect(
      sync({ kinds: [kind, kind, { name: 'b', priority: 7 }], queues: [{ name: 'q', weight: 0 }] }),
    ).rejects.toMatchObject({
      message: expect.stringMatching(/kind 'a': declared twice.*kind 'b': invalid_priority.*queue 'q': weight/),
    })
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
