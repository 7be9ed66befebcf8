// Pages of a list: bounded, and every job on exactly one of them, whatever happens in between.

import type { JobFilter } from 'millrace/admin'
import { describe, expect, it, vi } from 'vitest'
import { idsOf, useAdmin } from '../support/admin.ts'
import { claimAll, close, completed, enqueue, failed, fatal, running } from '../support/engine-database.ts'

const database = useAdmin()
const jobs = () => database.admin.jobs

/** All pages; `between` happens before each but the first. */
async function pages(filter: JobFilter, limit: number, between: (page: number) => Promise<unknown> = async () => 0) {
  const found: string[] = []
  let count = 0
  for (let cursor: string | null | undefined; cursor !== null; ) {
    if (count++ > 0) await between(count)
    const page = await jobs().list(filter, { limit, cursor })
    expect(page.items.length).toBeLessThanOrEqual(limit)
    found.push(...idsOf(page.items))
    cursor = page.cursor
  }
  return found
}

const newestFirst = (ids: readonly string[]) => [...ids].sort((a, b) => Number(b) - Number(a))

describe('pages', () => {
  it.each([1, 2, 3, 7, 100])('of %i have every job once, in order', async limit => {
    const ids = await enqueue(database.sql, 10)
    await enqueue(database.sql, 3, { delay_seconds: 60 })
    expect(await pages({}, limit)).toHaveLength(13)
    expect(await pages({ state: 'available' }, limit)).toEqual(newestFirst(ids))
  })

  it('have every job once that is there all the time, whatever happens to it and to others between pages', async () => {
    const ids = [...(await enqueue(database.sql, 20)), ...(await enqueue(database.sql, 10, { delay_seconds: 60 }))]
    const found = await pages({}, 4, async page => {
      await enqueue(database.sql, 2)
      const [first, second, third] = await claimAll(database, 3)
      if (first) await close(database, first, failed('again', page % 2 === 0 ? 0 : 60_000))
      if (second) await close(database, second, completed)
      if (third) await close(database, third, fatal)
      await database.sql`update millrace.deferred set run_at = now() where id % ${page} = 0`
      await database.engine.promote(3)
      if (page === 3) await database.rotate()
      await jobs().move(ids.slice(page, page + 3), { priority: 4 })
    })
    expect(found).toEqual(newestFirst(ids))
  })

  it('look at a bounded number of jobs: short, or empty, they carry a cursor that goes on', async () => {
    const ids = await enqueue(database.sql, 30)
    const rare = [ids[2], ids[3], ids[20]] as string[]
    await jobs().move(rare, { queue: 'rare' })
    const found: string[] = []
    const sizes: number[] = []
    for (let below: string | null = '9000000000'; below !== null; ) {
      const [page] = (await database.sql`
        select to_jsonb(ids) as ids, cursor from millrace.match_jobs('{"queue": "rare"}', ${below}, 100, 5)`) as [
        { ids: number[]; cursor: string | null },
      ]
      found.push(...page.ids.map(String))
      sizes.push(page.ids.length)
      below = page.cursor
    }
    expect(found).toEqual(newestFirst(rare))
    expect(sizes).toEqual([0, 1, 0, 0, 0, 2, 0])
  })

  it('tell running jobs from a backlog above them, and waiting ones from a history below them', async () => {
    const old = await enqueue(database.sql, 5)
    const busy = await claimAll(database)
    expect(busy.map(({ id }) => id)).toEqual(old)
    await database.sql`select count(millrace.enqueue('resize', '{}')) from generate_series(1, 1500)`
    const [page] = await database.sql`
      select to_jsonb(ids) as ids, cursor from millrace.match_jobs('{"state": "running"}', null, 100, 50)`
    expect(page).toEqual({ ids: newestFirst(old).map(Number), cursor: null })
    const waiting = await pages({ state: 'available' }, 1000)
    expect(waiting).toHaveLength(1500)
  })

  it('miss nothing while a segment is emptied, whose open jobs go elsewhere', async () => {
    const { id } = await running(database)
    const [later] = (await enqueue(database.sql, 1, { delay_seconds: 60 })) as [string]
    const pruner = await database.connect()
    await database.prunable()
    await pruner`begin`
    const [row] = await pruner`select millrace.prune() as pruned`
    expect(row?.pruned).toMatchObject({ carried: 1 })
    const list = jobs().list()
    await vi.waitFor(async () => {
      const waiting = await database.sql`
        select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%list_jobs%'`
      expect(waiting).toHaveLength(1)
    })
    await pruner`commit`
    expect(idsOf((await list).items)).toEqual([later, id])
  })
})
