// unique, debounce and throttle in the typed client: what it sends, and what the caller learns.

import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import {
  cancel,
  cancelByKey,
  createClient,
  defineKind,
  type EnqueueOptions,
  enqueue,
  enqueueMany,
  enqueueManyStatement,
  enqueueStatement,
  enqueueUnique,
  job,
  uniqueKey,
} from '../core/index.ts'
import { uniqueRow } from '../core/unique.ts'
import { claimAll, only, useEngine, view } from './support/engine-database.ts'

const database = useEngine()
const sync = defineKind({
  name: 'sync',
  args: v.object({ feed: v.number(), at: v.optional(v.string()) }),
  queue: 'feeds',
})

/** The parameters of the statement by name. */
async function sent(options: EnqueueOptions): Promise<Record<string, unknown>> {
  const { values } = await enqueueManyStatement([job(sync, { feed: 1 }, options)])
  return JSON.parse(String(values[0]))[0]
}

describe('the key', () => {
  it.each([
    [{ unique: true }, { kind: sync, args: { feed: 1 } }],
    [{ unique: { byArgs: false } }, { kind: 'sync' }],
    [{ unique: { byQueue: true } }, { kind: 'sync', queue: 'feeds', args: { feed: 1 } }],
    [
      { unique: { byQueue: true }, queue: 'other' },
      { kind: 'sync', queue: 'other', args: { feed: 1 } },
    ],
    [{ debounce: { seconds: 5 } }, { kind: 'sync', args: { feed: 1 } }],
    [{ throttle: { seconds: 5, byArgs: false } }, { kind: 'sync' }],
  ] satisfies [EnqueueOptions, Parameters<typeof uniqueKey>[0]][])('of %j is that of %j', async (options, parts) => {
    expect(await sent(options)).toMatchObject({ unique_key: uniqueKey(parts) })
  })

  it('may be any text instead', async () => {
    expect(await sent({ unique: { key: 'feed 1' } })).toMatchObject({ unique_key: 'feed 1' })
  })

  it('changes with the period, when there is one', () => {
    const at = (seconds: number) =>
      uniqueRow({ unique: { periodSeconds: 60 } }, { kind: sync, args: {}, queue: null }, seconds * 1000).unique_key
    expect(at(59.9)).toBe(at(0))
    expect(at(60)).not.toBe(at(59.9))
    expect(at(60)).toBe(uniqueKey({ kind: 'sync', args: {}, period: 1 }))
  })
})

describe('the options', () => {
  it('are sent as they are, and nothing without them', async () => {
    expect(await sent({ unique: { key: 'k', states: ['running'], onConflict: 'error' } })).toMatchObject({
      ...{ unique_states: ['running'], on_conflict: 'error' },
    })
    expect(await sent({ debounce: { key: 'k', seconds: 5 } })).toMatchObject({
      on_conflict: 'replace',
      delay_seconds: 5,
    })
    expect(await sent({ throttle: { key: 'k', seconds: 5 } })).toMatchObject({ unique_for_seconds: 5 })
    expect(Object.keys(await sent({ unique: false }))).toEqual(['kind', 'queue', 'args'])
    expect((await enqueueStatement(sync, { feed: 1 })).text).not.toMatch(/unique|ordering|rate/)
  })

  it.each([
    { unique: true, debounce: { seconds: 1 } },
    { throttle: { seconds: 1 }, debounce: { seconds: 1 } },
    { debounce: { seconds: 0 } },
    { throttle: { seconds: Number.POSITIVE_INFINITY } },
    { unique: { periodSeconds: -1 } },
    { unique: { key: 'k\0' } },
  ] satisfies EnqueueOptions[])('that make no sense are refused before anything is sent: %j', async options => {
    await expect(sent(options)).rejects.toMatchObject({ code: 'invalid_unique' })
  })

  it.each([
    ['invalid_unique', { unique: { key: '' } }],
    ['invalid_unique', { unique: { states: ['asleep' as never] } }],
    ['invalid_ordering_key', { orderingKey: '' }],
    ['invalid_rate_key', { rateKey: 'x'.repeat(201) }],
  ] satisfies [string, EnqueueOptions][])('have limits in the database: %s', async (code, options) => {
    await expect(enqueue(database.sql, sync, { feed: 1 }, options)).rejects.toMatchObject({ code })
    await expect(enqueueMany(database.sql, [job(sync, { feed: 1 }, options)])).rejects.toMatchObject({ code })
  })
})

describe('a repeated request', () => {
  it('is told the same job, through every way in', async () => {
    const id = await enqueue(database.sql, sync, { feed: 1 }, { unique: true })
    expect(await enqueue(database.sql, sync, { feed: 1 }, { unique: true })).toBe(id)
    const jobs = [job(sync, { feed: 2 }, { unique: true }), job(sync, { feed: 1 }, { unique: true })]
    const [other, same] = await enqueueMany(database.sql, jobs)
    expect(same).toBe(id)
    expect(other).not.toBe(id)
    expect(await enqueueUnique(database.sql, sync, { feed: 1 }, { unique: true })).toEqual({
      ...{ id, existing: true, replaced: false },
    })
    expect(await claimAll(database)).toHaveLength(2)
  })

  it('is refused when asked, with the holder in the cause', async () => {
    const id = await enqueue(database.sql, sync, { feed: 1 }, { unique: true })
    await expect(enqueue(database.sql, sync, { feed: 1 }, { unique: { onConflict: 'error' } })).rejects.toMatchObject({
      ...{ name: 'MillraceError', code: 'unique_conflict', cause: { code: '23505', detail: `job ${id}` } },
    })
  })

  it('learns that the job is new, was there, or was replaced', async () => {
    const call = (at: string) =>
      enqueueUnique(database.sql, sync, { feed: 1, at }, { debounce: { key: 'feed 1', seconds: 60 } })
    const first = await call('a')
    expect(first).toEqual({ id: first.id, existing: false, replaced: false })
    expect(await call('b')).toEqual({ id: first.id, existing: true, replaced: true })
    expect(await view(database, first.id)).toMatchObject({ state: 'scheduled', args: { feed: 1, at: 'b' } })
    expect(await enqueueUnique(database.sql, sync, { feed: 2 })).toMatchObject({ existing: false })
  })
})

describe('cancel', () => {
  it('takes one id or several, in the transaction of the caller', async () => {
    const [a, b, c] = await enqueueMany(
      database.sql,
      [1, 2, 3].map(feed => job(sync, { feed })),
    )
    const rolledBack = database.sql.begin(async tx => {
      expect(await cancel(tx, a as string)).toEqual([{ id: a, state: 'cancelled', cancelled: true }])
      throw new Error('rolled back on purpose')
    })
    await expect(rolledBack).rejects.toThrow('on purpose')
    expect((await view(database, a as string)).state).toBe('available')

    await cancel(database.sql, b as string, { reason: 'no longer wanted' })
    expect(await view(database, b as string)).toMatchObject({
      ...{ state: 'cancelled', errors: [{ code: 'cancelled', message: 'no longer wanted' }] },
    })
    expect(await cancel(database.sql, [c as string, b as string, '999999999'])).toEqual([
      { id: b, state: 'cancelled', cancelled: false },
      { id: c, state: 'cancelled', cancelled: true },
    ])
    expect(only(await claimAll(database)).id).toBe(a)
  })

  it('refuses what is no id before it cancels anything', async () => {
    const [id = ''] = await enqueueMany(database.sql, [job(sync, { feed: 1 })])
    for (const wrong of ['forty-two', undefined as unknown as string, '-1']) {
      await expect(cancel(database.sql, [id, wrong])).rejects.toMatchObject({ code: 'invalid_request' })
    }
    expect((await view(database, id)).state).toBe('available')
  })

  it('goes by unique key, or by what the key is made of', async () => {
    const { cancelByKey: cancelIn } = createClient({ schema: 'millrace' })
    const first = await enqueue(database.sql, sync, { feed: 1 }, { unique: true })
    const second = await enqueue(database.sql, sync, { feed: 2 }, { unique: { key: 'feed 2' } })

    expect(await cancelByKey(database.sql, { kind: sync, args: { feed: 1 } })).toEqual({
      ...{ id: first, state: 'cancelled', cancelled: true },
    })
    expect(await cancelIn(database.sql, 'feed 2')).toMatchObject({ id: second, cancelled: true })
    expect(await cancelByKey(database.sql, 'feed 3')).toBeUndefined()
    expect(await claimAll(database)).toEqual([])
  })
})
