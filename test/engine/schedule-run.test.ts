// Running schedules: every occurrence becomes one job, however many processes fire them and wherever one of them dies.

import { toSql } from 'millrace'
import { describe, expect, it } from 'vitest'
import type { MaintenanceEvent } from '../../core/dispatch/events.ts'
import { Schedules } from '../../core/maintenance/schedules.ts'
import { nextOccurrences } from '../../core/schedule.ts'
import { ScheduleEngine } from '../../core/schedule-engine.ts'
import type { Sql } from '../../core/sql.ts'
import { only, useEngine } from '../support/engine-database.ts'

const database = useEngine()

interface Declared {
  readonly name: string
  readonly expression: string
  readonly [key: string]: unknown
}

async function declare(...schedules: Declared[]): Promise<void> {
  const manifest = JSON.stringify({ schedules: schedules.map(schedule => ({ kind: 'report', args: {}, ...schedule })) })
  await database.sql`select millrace.sync_manifest(${manifest}::text::jsonb, 'shop')`
}

/** As if nobody had fired it for so long. */
const lapse = (name: string, interval: string) => database.sql`
  update millrace.schedule set done_to = now() - ${interval}::interval, next_at = now() - ${interval}::interval where name = ${name}`

function schedules(sql: Sql = toSql(database.sql)) {
  const events: MaintenanceEvent[] = []
  return { events, loop: new Schedules({ sql, onEvent: event => events.push(event) }) }
}

/** The times of a schedule's jobs, in the order in which they were enqueued. */
const fired = async (name: string): Promise<string[]> => {
  const rows = await database.sql<{ at: string }[]>`
    select metadata #>> '{schedule,at}' as at from millrace.job_log where metadata #>> '{schedule,name}' = ${name} order by id`
  return rows.map(({ at }) => at)
}

const doneTo = async (name: string): Promise<Date> =>
  only(await database.sql<{ done_to: Date }[]>`select done_to from millrace.schedule where name = ${name}`).done_to

/** What lies after `from` and up to where the schedule has come; no more than needed to tell it from what was fired. */
async function expected(name: string, expression: string, from: Date): Promise<string[]> {
  const end = await doneTo(name)
  const { length } = await fired(name)
  return nextOccurrences({ expression, timezone: 'UTC' }, length + 1, from)
    .filter(at => at <= end)
    .map(at => at.toISOString())
}

describe('a pass', () => {
  it('fires nothing from before the schedule was declared, and says when it wants to run again', async () => {
    await declare({ name: 'minutely', expression: '* * * * *' }, { name: 'yearly', expression: '0 0 1 1 *' })
    const { loop } = schedules()

    const wait = await loop.runOnce()

    expect(await fired('minutely')).toEqual([])
    expect(wait).toBeGreaterThan(0)
    expect(wait).toBeLessThanOrEqual(60_000)
    const [next] = await database.sql<{ ms: number }[]>`
      select (extract(epoch from next_at - now()) * 1000)::float8 as ms from millrace.schedule where name = 'minutely'`
    expect(Math.abs(wait - (next?.ms ?? 0))).toBeLessThan(1000)
  })

  it('fires what came due, and then nothing more', async () => {
    await declare({ name: 'yearly', expression: '0 0 1 1 *' }, { name: 'paused', expression: '0 0 1 1 *' })
    await database.sql`select millrace.pause_schedule('paused')`
    await lapse('yearly', '400 days')
    await lapse('paused', '400 days')
    const { loop, events } = schedules()

    await loop.runOnce()
    await loop.runOnce()

    expect(await fired('yearly')).toEqual([expect.stringMatching(/-01-01T00:00:00\.000Z$/)])
    expect(await fired('paused')).toEqual([])
    expect(events).toEqual([{ type: 'fired', schedule: 'yearly', jobs: 1, skipped: 0 }])
  })

  it('asks for nothing when nothing will ever come', async () => {
    const HOUR_MS = 3_600_000
    const { loop } = schedules()
    expect(await loop.runOnce()).toBeGreaterThan(0.9 * HOUR_MS)
    await declare({ name: 'never', expression: '0 0 31 2 *' })
    expect(await loop.runOnce()).toBeGreaterThan(0.9 * HOUR_MS)
    const statements = count(toSql(database.sql))
    expect(await new Schedules({ sql: statements.sql }).runOnce()).toBeGreaterThan(0.9 * HOUR_MS)
    expect(statements.count()).toBe(1)
    expect(await database.sql`select next_at::text from millrace.schedule`).toEqual([{ next_at: 'infinity' }])
  })

  it('catches up a thousand at a time', async () => {
    await declare({ name: 'secondly', expression: '* * * * * *', missed: 'catch_up' })
    await lapse('secondly', '2500 seconds')
    const from = await doneTo('secondly')
    const { loop, events } = schedules()

    await loop.runOnce()
    expect(await fired('secondly')).toHaveLength(1000)
    await loop.runOnce()
    await loop.runOnce()

    expect(events.slice(0, 2)).toMatchObject([{ jobs: 1000 }, { jobs: 1000 }])
    const times = await fired('secondly')
    expect(times.length).toBeGreaterThanOrEqual(2499)
    expect(times).toEqual(await expected('secondly', '* * * * * *', from))
  })

  it('goes on with the others when one cannot be fired', async () => {
    await declare(
      { name: 'a', expression: '99 * * * *' },
      { name: 'b', expression: '* * * * *', timezone: 'Europe/Nowhere' },
      { name: 'c', expression: '* * * * *' },
      { name: 'd', expression: '* * * * *' },
    )
    await database.sql`update millrace.schedule set kind = '' where name = 'c'`
    await database.sql`update millrace.schedule set done_to = now() - interval '1 hour'`
    const { loop, events } = schedules()

    const wait = await loop.runOnce()

    expect(await fired('d')).toHaveLength(1)
    expect(events.filter(({ type }) => type === 'error')).toMatchObject([
      { during: 'schedule a' },
      { during: 'schedule b' },
      { during: 'schedule c' },
    ])
    expect(wait).toBeGreaterThan(0)
    const listed = await new ScheduleEngine(toSql(database.sql)).list()
    expect(listed.map(({ name, error }) => [name, error?.code])).toEqual([
      ['a', 'invalid_declaration'],
      ['b', 'invalid_declaration'],
      ['c', 'invalid_kind'],
      ['d', undefined],
    ])
    expect(listed.map(({ next }) => next.length)).toEqual([0, 0, 5, 5])
  })

  it('is refused once its leader was deposed, and fires as the present one', async () => {
    await declare({ name: 'minutely', expression: '* * * * *' })
    await lapse('minutely', '1 hour')
    const lead = async (holder: string) =>
      only(await database.sql<{ epoch: string }[]>`select millrace.lead('maintenance', ${holder}, 60) as epoch`).epoch
    const first = await lead('first')
    await database.sql`select millrace.resign('maintenance', 'first')`
    const second = await lead('second')
    const { loop } = schedules()

    await expect(loop.runOnce(first)).rejects.toMatchObject({ code: 'not_leader' })
    expect(await fired('minutely')).toEqual([])
    await loop.runOnce(second)
    expect(await fired('minutely')).toHaveLength(1)
  })
})

describe('several processes at once', () => {
  it('neither double nor lose an occurrence', async () => {
    const names = ['a', 'b', 'c', 'd']
    const expression = '*/10 * * * * *'
    await declare(...names.map(name => ({ name, expression, missed: 'catch_up' })))
    for (const name of names) await lapse(name, '30 minutes')
    const starts = await Promise.all(names.map(doneTo))
    const loops = (await database.connections(4)).map(client => schedules(toSql(client)).loop)
    // Each process sees time pass in steps of its own: what it fires is cut off at another instant.
    const run = async (loop: Schedules) => {
      for (let pass = 0; pass < 15; pass++) {
        await loop.runOnce()
        await database.sql`update millrace.schedule set next_at = null where name = ${names[pass % 4] ?? ''}`
      }
    }

    await Promise.all(loops.map(run))

    for (const [n, name] of names.entries())
      expect(await fired(name)).toEqual(await expected(name, expression, starts[n] as Date))
  })

  it('that die between any two statements, before or after one has taken effect, lose and double nothing', async () => {
    const expression = '*/30 * * * * *'
    await declare({ name: 'a', expression, missed: 'catch_up' }, { name: 'b', expression, missed: 'catch_up' })
    await lapse('a', '30 minutes')
    await lapse('b', '30 minutes')
    const starts = { a: await doneTo('a'), b: await doneTo('b') }

    for (let statement = 1; statement <= 4; statement++)
      for (const when of ['before', 'after'] as const) {
        const { loop } = schedules(dying(toSql(database.sql), statement, when))
        await loop.runOnce().catch(() => undefined)
      }
    await schedules().loop.runOnce()

    for (const name of ['a', 'b'] as const) {
      const times = await fired(name)
      expect(times.length).toBeGreaterThanOrEqual(59)
      expect(times).toEqual(await expected(name, expression, starts[name]))
    }
  })

  it('and somebody who pauses, resumes and changes it meanwhile', async () => {
    await declare({ name: 'a', expression: '* * * * * *', missed: 'catch_up' })
    await lapse('a', '600 seconds')
    const clients = await database.connections(2)
    const loops = clients.map(client => schedules(toSql(client)).loop)
    const stop = { now: false }
    const running = loops.map(async loop => {
      while (!stop.now) await loop.runOnce()
    })
    for (let n = 0; n < 10; n++) {
      await database.sql`select millrace.pause_schedule('a')`
      await database.sql`select millrace.resume_schedule('a')`
      await declare({ name: 'a', expression: n % 2 ? '* * * * * *' : '*/2 * * * * *', missed: 'catch_up' })
    }
    stop.now = true
    await Promise.all(running)

    const times = await fired('a')
    expect(new Set(times).size).toBe(times.length)
    expect(times).toEqual(times.toSorted())
  })
})

/** Counts statements. */
function count(sql: Sql): { sql: Sql; count: () => number } {
  let statements = 0
  const query: Sql['query'] = (text, params) => {
    statements++
    return sql.query(text, params)
  }
  return { sql: { query }, count: () => statements }
}

/** A process whose connection ends at its n-th statement: nothing it says from then on is heard. */
function dying(sql: Sql, last: number, when: 'before' | 'after'): Sql {
  let statements = 0
  return {
    async query(text, params) {
      statements++
      if (statements > last || (statements === last && when === 'before')) throw new Error('the connection is gone')
      const rows = await sql.query(text, params)
      if (statements === last) throw new Error('the connection is gone')
      return rows as never
    },
  }
}
