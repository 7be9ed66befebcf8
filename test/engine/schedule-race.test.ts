// Two transactions at one schedule: the second waits for the first, and then does what is right by what the first one did.

import type postgres from 'postgres'
import { describe, expect, it } from 'vitest'
import { only, useEngine } from '../support/engine-database.ts'
import { pidOf, waiting } from '../support/unique.ts'

const database = useEngine()

const NOON = '2026-05-01T12:00:00Z'
const hourly = { name: 'hourly', expression: '0 * * * *', kind: 'report', args: {} }

type Step = (sql: postgres.Sql) => Promise<string>

const sync = (schedules: object[]): Step => {
  const manifest = JSON.stringify({ schedules })
  return async sql => {
    await sql`select millrace.sync_manifest(${manifest}::text::jsonb, 'shop')`
    return 'done'
  }
}

const STEPS = {
  fire: async sql => {
    const rows = await sql<{ state: string }[]>`
      select millrace.fire_schedule('hourly', ${NOON}, array['2026-05-01T13:00:00Z'::timestamptz], '2026-05-01T13:30:00Z',
        '2026-05-01T14:00:00Z') ->> 'state' as state`
    return only(rows).state
  },
  fail: async sql => {
    const rows = await sql<{ state: string }[]>`
      select millrace.fail_schedule('hourly', ${NOON}, 'x', 'out of paper') ->> 'state' as state`
    return only(rows).state
  },
  pause: async sql => {
    await sql`select millrace.pause_schedule('hourly')`
    return 'done'
  },
  change: sync([{ ...hourly, expression: '30 * * * *' }]),
  remove: sync([]),
} satisfies Record<string, Step>

type StepName = keyof typeof STEPS

/** The first is done and not committed when the second begins. */
async function race(first: StepName, second: StepName, end: 'commit' | 'rollback' = 'commit'): Promise<string[]> {
  await sync([hourly])(database.sql)
  await database.sql`update millrace.schedule set done_to = ${NOON}, next_at = ${NOON}`
  const [one, two] = (await database.connections(2)) as [postgres.Sql, postgres.Sql]
  const pid = await pidOf(two)
  await one`begin`
  const before = await STEPS[first](one)
  const after = STEPS[second](two)
  await waiting(database, pid)
  await one.unsafe(end)
  return [before, await after]
}

const jobs = async () => (await database.sql`select from millrace.job_log`).length

const state = async () =>
  (
    await database.sql`
      select done_to > ${NOON} as moved, next_at is null as afresh, paused_at is not null as paused, error is not null as failed
      from millrace.schedule`
  ).map(row => ({ ...row }))

const AT_REST = { moved: true, afresh: false, paused: false, failed: false }

describe('first and second', () => {
  it.each([
    ['fire', 'fire', ['fired', 'stale'], 1, [AT_REST]],
    ['fire', 'pause', ['fired', 'done'], 1, [{ ...AT_REST, paused: true }]],
    ['pause', 'fire', ['done', 'stale'], 0, [{ ...AT_REST, moved: false, paused: true }]],
    ['fire', 'change', ['fired', 'done'], 1, [{ ...AT_REST, afresh: true }]],
    ['change', 'fire', ['done', 'stale'], 0, [{ ...AT_REST, afresh: true }]],
    ['fire', 'remove', ['fired', 'done'], 1, []],
    ['remove', 'fire', ['done', 'stale'], 0, []],
    ['fire', 'fail', ['fired', 'stale'], 1, [AT_REST]],
    ['fail', 'fire', ['failed', 'fired'], 1, [AT_REST]],
  ] as const)('%s, %s: %j, with %i jobs', async (first, second, answers, count, left) => {
    expect(await race(first, second)).toEqual(answers)
    expect(await jobs()).toBe(count)
    expect(await state()).toEqual(left)
  })

  it('when the first is rolled back, the second does it', async () => {
    expect(await race('fire', 'fire', 'rollback')).toEqual(['fired', 'fired'])
    expect(await jobs()).toBe(1)
    expect(await state()).toEqual([AT_REST])
  })
})
