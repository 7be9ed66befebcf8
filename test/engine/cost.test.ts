// What a claim costs: the same number of pages, however much lies before and behind it.

import type postgres from 'postgres'
import { describe, expect, it } from 'vitest'
import { enqueueBulk, only, useEngine } from '../support/engine-database.ts'

const database = useEngine()
const BATCH = 100

interface Explained {
  readonly Plan: {
    readonly 'Shared Hit Blocks': number
    readonly 'Shared Read Blocks': number
    readonly 'Actual Rows': number
  }
}

/** Claims a batch and answers how many pages that touched, in all the statements of the function. */
async function claimPages(client: postgres.Sql, runtime: string): Promise<number> {
  const rows = await client<{ 'QUERY PLAN': Explained[] }[]>`
    explain (analyze, buffers, timing off, format json) select * from millrace.claim(${runtime}, ${BATCH})`
  const { Plan } = only(only(rows)['QUERY PLAN'])
  expect(Plan['Actual Rows']).toBe(BATCH)
  return Plan['Shared Hit Blocks'] + Plan['Shared Read Blocks']
}

/** A new session that has loaded its catalogs and plans, on the batches that it has claimed for that. */
async function warm(): Promise<{ client: postgres.Sql; runtime: string }> {
  const client = await database.connect()
  const runtime = await database.engine.runtimeStart('cost')
  for (let n = 0; n < 3; n++) await claimPages(client, runtime)
  return { client, runtime }
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

async function medianPages({ client, runtime }: { client: postgres.Sql; runtime: string }): Promise<number> {
  const pages: number[] = []
  for (let n = 0; n < 7; n++) pages.push(await claimPages(client, runtime))
  return median(pages)
}

describe('the pages that a claim touches', () => {
  it('stay the same from the first batch of a window to the last', async () => {
    await enqueueBulk(database.sql, 50_000)
    const { client, runtime } = await warm()
    const pages: number[] = []
    for (let claimed = 3 * BATCH; claimed < 50_000; claimed += BATCH) pages.push(await claimPages(client, runtime))

    expect(median(pages.slice(-20))).toBeLessThan(1.5 * median(pages.slice(0, 20)))
    expect(Math.max(...pages)).toBeLessThan(3 * median(pages))
  })

  it('do not grow with backlog and history, also while an old snapshot is held open', async () => {
    const old = await database.connect()
    await old`begin isolation level repeatable read`
    await old`select count(*) from pg_class`
    await enqueueBulk(database.sql, 2_000)
    const session = await warm()
    const few = await medianPages(session)

    await enqueueBulk(database.sql, 50_000)
    for (let n = 0; n < 250; n++) await claimPages(session.client, session.runtime)
    const many = await medianPages(session)
    await old`commit`
    expect(many).toBeLessThan(1.5 * few)
  })

  it('do not grow with jobs that transactions still hold back', async () => {
    await enqueueBulk(database.sql, 2_000)
    const session = await warm()
    const without = await medianPages(session)
    const slow = await database.connect()
    await slow`begin`
    await enqueueBulk(slow, 20_000)
    await enqueueBulk(database.sql, 2_000)
    // The window that begins before these jobs passes them once; the next ones know of them.
    while ((await database.sql`select id from millrace.claim(${session.runtime}, 1000)`).length === 1000);
    await enqueueBulk(database.sql, 2_000)
    const held = await medianPages(session)
    await slow`rollback`
    expect(held).toBeLessThan(1.5 * without)
  })
})

it('functions that forbid the planner a way are never compiled: the price it puts on that would have each call compiled', async () => {
  const forbidding = await database.sql<{ name: string; jit: boolean }[]>`
    select proname as name, 'jit=off' = any (proconfig) as jit from pg_proc
    where pronamespace = 'millrace'::regnamespace and array_to_string(proconfig, ' ') like '%enable_%'`
  expect(forbidding.map(({ name }) => name)).toContain('claim')
  expect(forbidding.filter(({ jit }) => !jit)).toEqual([])
})
