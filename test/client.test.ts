// The client against the engine: every limit has its code, and a database without the schema says so.

import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import { translateError } from '../core/database-errors.ts'
import {
  createClient,
  defineKind,
  type EnqueueOptions,
  enqueue,
  enqueueMany,
  type Json,
  job,
  type Kind,
} from '../core/index.ts'
import { useDatabase } from './support/database.ts'

const database = useDatabase()
const anything = defineKind({ name: 'anything', args: v.custom<Json>(() => true) })

/** Not to be had from defineKind, so that the database's own check is seen. */
const named = (name: string): Kind => ({ ...anything, name })
const count = async () => (await database.sql`select count(*)::int as n from millrace.job_log`)[0]?.n
const look = async (id = '') => (await database.sql`select millrace.job(${id}) as job`)[0]?.job

describe('limits', () => {
  it.each([
    ['invalid_kind', named(''), {}],
    ['invalid_kind', named('x'.repeat(201)), {}],
    ['invalid_kind', named('millrace.webhook'), {}],
    ['invalid_queue', anything, { queue: 'x'.repeat(201) }],
    ['invalid_queue', anything, { queue: '' }],
    ['invalid_priority', anything, { priority: 0 }],
    ['invalid_priority', anything, { priority: 5 }],
    ['invalid_max_attempts', anything, { maxAttempts: 0 }],
    ['invalid_max_attempts', anything, { maxAttempts: 1001 }],
    ['invalid_run_at', anything, { delaySeconds: -1 }],
    ['invalid_run_at', anything, { runAt: new Date(), delaySeconds: 1 }],
    ['invalid_run_at', anything, { runAt: new Date(8.64e15) }],
    ['invalid_run_at', anything, { delaySeconds: 1e300 }],
    ['invalid_tags', anything, { tags: Array.from({ length: 21 }, (_, n) => `${n}`) }],
    ['invalid_tags', anything, { tags: [''] }],
    ['invalid_metadata', anything, { metadata: [] as never }],
    ['invalid_metadata', anything, { metadata: { 'millrace:own': 1 } }],
  ] satisfies [string, Kind, EnqueueOptions][])('%s', async (code, kind, options) => {
    await expect(enqueue(database.sql, kind, {}, options)).rejects.toMatchObject({ name: 'MillraceError', code })
    await expect(enqueueMany(database.sql, [job(kind, {}, options)])).rejects.toMatchObject({ code })
  })

  it.each([
    { priority: 1 },
    { priority: 4 },
    { maxAttempts: 1 },
    { maxAttempts: 1000 },
    { tags: Array.from({ length: 20 }, (_, n) => `${n}`) },
    { queue: 'x'.repeat(200) },
    { tags: [] },
    { metadata: {} },
    { runAt: new Date(0) },
    { delaySeconds: 0 },
  ] satisfies EnqueueOptions[])('take their ends: %j', async options => {
    await expect(enqueue(database.sql, anything, {}, options)).resolves.toMatch(/^\d+$/)
  })

  it('a payload of more than a MiB is refused with what to do about it', async () => {
    await expect(enqueue(database.sql, anything, 'x'.repeat(1024 * 1024 - 2))).resolves.toMatch(/^\d+$/)

    await expect(enqueue(database.sql, anything, 'x'.repeat(1024 * 1024))).rejects.toMatchObject({
      code: 'payload_too_large',
      message: expect.stringContaining('1048576'),
      hint: expect.stringContaining('reference'),
    })
  })

  it('one bad job of many takes all of them along, and is named', async () => {
    const before = await count()
    const jobs = [job(anything, 1), job(anything, 2, { priority: 9 }), job(anything, 3)]

    await expect(enqueueMany(database.sql, jobs)).rejects.toMatchObject({
      code: 'invalid_priority',
      message: expect.stringContaining('job 2'),
    })
    expect(await count()).toBe(before)
  })
})

describe('enqueueing', () => {
  it.each([[null], [false], [0], ['text'], [[]], [{}], [[null]]])('keeps %j as the arguments', async args => {
    expect(await look(await enqueue(database.sql, anything, args))).toMatchObject({ args })
    expect(await look((await enqueueMany(database.sql, [job(anything, args)]))[0])).toMatchObject({ args })
  })

  it('sends what the kind declares, so that it holds before the first sync', async () => {
    const kind = defineKind({ name: 'unsynced', args: v.unknown(), queue: 'slow', priority: 4, maxAttempts: 3 })

    expect(await look(await enqueue(database.sql, kind, {}))).toMatchObject({
      queue: 'slow',
      priority: 4,
      max_attempts: 3,
    })
    expect(await look(await enqueue(database.sql, kind, {}, { queue: 'fast' }))).toMatchObject({ queue: 'fast' })
  })

  it('no jobs is no statement', async () => {
    const silent = { query: () => Promise.reject(new Error('not expected')) }

    await expect(enqueueMany(silent, [])).resolves.toEqual([])
  })
})

describe('plain SQL', () => {
  it('is a way in like any other: rolled back nothing is left, committed the job is there', async () => {
    const call = `select millrace.enqueue('render_receipt', '{"orderId": 42}', priority => 1, delay => '5 minutes') as id`
    const before = await count()
    const [rolledBack, committed] = await database.sql.begin(async tx => {
      await tx`savepoint before`
      const lost = await tx.unsafe(call)
      await tx`rollback to savepoint before`
      return [lost[0]?.id, (await tx.unsafe(call))[0]?.id]
    })

    expect(await look(rolledBack)).toBeNull()
    expect(await look(committed)).toMatchObject({ state: 'scheduled', priority: 1, args: { orderId: 42 } })
    expect(await count()).toBe(before)
  })

  it('gets an error of its own driver, whose constraint is the code', async () => {
    const tooUrgent = database.sql`select millrace.enqueue('render_receipt', priority => 0)`.catch(
      (error: unknown) => error,
    )
    const nul = database.sql.unsafe(`select millrace.enqueue('x', '"\\u0000"')`).catch((error: unknown) => error)

    expect(await tooUrgent).toMatchObject({ code: '23514', constraint_name: 'invalid_priority' })
    expect(translateError(await tooUrgent)).toMatchObject({
      code: 'invalid_priority',
      hint: expect.stringContaining('1'),
    })
    expect(translateError(await nul)).toMatchObject({ code: 'invalid_args' })
  })
})

describe('errors', () => {
  it('a missing schema says what to run', async () => {
    const client = createClient({ schema: 'no such "schema"' })

    await expect(client.enqueue(database.sql, anything, 1)).rejects.toMatchObject({
      code: 'schema_missing',
      hint: expect.stringContaining('millrace migrate'),
    })
    await expect(client.enqueueMany(database.sql, [job(anything, 1)])).rejects.toMatchObject({ code: 'schema_missing' })
  })

  it('that are not about jobs come through as they are', async () => {
    const broken = new Error('connection lost')

    await expect(enqueue({ query: () => Promise.reject(broken) }, anything, 1)).rejects.toBe(broken)
  })
})
