// Schedules in SQL: firing moves them on exactly once, whatever goes wrong.

import { describe, expect, it } from 'vitest'
import { only, running, useEngine } from '../support/engine-database.ts'

const database = useEngine()

const [NOON, ONE, TWO] = ['2026-05-01T12:00:00.000Z', '2026-05-01T13:00:00.000Z', '2026-05-01T14:00:00.000Z']

interface Row {
  readonly done_to: string
  readonly next_at: string | null
  readonly last_at: string | null
  readonly last_job: string | null
  readonly skipped: number
  readonly error: { code: string; message: string; since: string; tries: number } | null
}

/** A schedule that was done to noon. */
async function declare(part: object = {}): Promise<void> {
  const schedule = { name: 'hourly', expression: '0 * * * *', kind: 'report', args: { format: 'pdf' }, ...part }
  const manifest = JSON.stringify({ schedules: [schedule] })
  await database.sql`select millrace.sync_manifest(${manifest}::text::jsonb, 'shop')`
  await database.sql`update millrace.schedule set done_to = ${NOON}, next_at = ${ONE}`
}

interface Fired {
  readonly state: 'fired' | 'stale' | 'failed'
  readonly jobs: number[]
  readonly skipped: number
}

async function fire(occurrences: string[], expected = NOON, doneTo = occurrences.at(-1) ?? ONE): Promise<Fired> {
  const rows = await database.sql<{ fired: Fired }[]>`
    select millrace.fire_schedule('hourly', ${expected}::timestamptz, ${`{${occurrences.join(',')}}`}::text::timestamptz[],
      ${doneTo}::timestamptz, ${'2026-05-01T15:00:00Z'}::timestamptz) as fired`
  return only(rows).fired
}

const row = async (): Promise<Row> =>
  only(
    await database.sql<Row[]>`
      select to_char(done_to at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as done_to, next_at::text, last_job,
        to_char(last_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as last_at, skipped::int, error
      from millrace.schedule`,
  )

const job = async (id: number | undefined) => (await database.engine.job(id ?? 0)) ?? null

describe('firing', () => {
  it('enqueues one job for each occurrence, with its own time, and moves on', async () => {
    await declare({
      time_arg: 'hour',
      queue: 'reports',
      priority: 1,
      max_attempts: 3,
      tags: ['a'],
      metadata: { team: 'x' },
    })

    const { state, jobs } = await fire([ONE, TWO])

    expect(state).toBe('fired')
    expect(jobs).toHaveLength(2)
    expect(await job(jobs[0])).toMatchObject({
      ...{ kind: 'report', queue: 'reports', priority: 1, max_attempts: 3, tags: ['a'], state: 'available' },
      args: { format: 'pdf', hour: ONE },
      metadata: { team: 'x', schedule: { name: 'hourly', at: ONE } },
    })
    expect(await job(jobs[1])).toMatchObject({ args: { hour: TWO }, metadata: { schedule: { at: TWO } } })
    expect(await row()).toMatchObject({ done_to: TWO, last_at: TWO, last_job: String(jobs[1]), error: null })
  })

  it('leaves to the kind what it does not say itself', async () => {
    await database.sql`insert into millrace.kind (name, queue, priority, max_attempts, source) values ('report', 'slow', 4, 2, 'x')`
    await declare()
    const { jobs } = await fire([ONE])
    expect(await job(jobs[0])).toMatchObject({ queue: 'slow', priority: 4, max_attempts: 2, args: { format: 'pdf' } })
  })

  it('moves on without a job when nothing was due', async () => {
    await declare()
    expect(await fire([])).toMatchObject({ state: 'fired', jobs: [], skipped: 0 })
    expect(await row()).toMatchObject({ done_to: ONE, last_at: null, last_job: null })
  })

  it('does nothing when somebody else was quicker, when it is paused, changed or gone', async () => {
    await declare()
    await fire([ONE])
    expect(await fire([ONE])).toEqual({ state: 'stale' })
    await declare({ expression: '30 * * * *' })
    await database.sql`update millrace.schedule set paused_at = now()`
    expect(await fire([ONE])).toEqual({ state: 'stale' })
    await database.sql`delete from millrace.schedule`
    expect(await fire([ONE])).toEqual({ state: 'stale' })
    expect(await database.sql`select from millrace.job_log`).toHaveLength(1)
  })

  it('is refused for a leader who was deposed', async () => {
    await declare()
    await expect(
      database.sql`select millrace.fire_schedule('hourly', ${NOON}, '{}', ${ONE}, null, 7)`,
    ).rejects.toMatchObject({ constraint_name: 'not_leader' })
    expect(await row()).toMatchObject({ done_to: NOON })
  })
})

describe('while the last job is open', () => {
  it('skip enqueues nothing, and counts what it left out', async () => {
    await declare({ overlap: 'skip' })
    const { jobs } = await fire([ONE])
    expect(await fire([TWO], ONE)).toMatchObject({ state: 'fired', jobs: [], skipped: 1 })
    expect(await row()).toMatchObject({ done_to: TWO, last_at: ONE, last_job: String(jobs[0]), skipped: 1 })
  })

  it('skip enqueues again once it has ended', async () => {
    await declare({ overlap: 'skip' })
    await fire([ONE])
    const claimed = await database.engine.claim(await database.engine.runtimeStart('test'), 1)
    await database.engine.close(claimed.map(attempt => ({ ...attempt, outcome: { kind: 'completed' } })))
    expect((await fire([TWO], ONE)).jobs).toHaveLength(1)
  })

  it('skip makes one job of several occurrences, the first', async () => {
    await declare({ overlap: 'skip' })
    expect(await fire([ONE, TWO])).toMatchObject({ jobs: [expect.any(Number)], skipped: 1 })
    expect(await row()).toMatchObject({ done_to: TWO, last_at: ONE })
  })

  it('cancel ends it and enqueues the latest', async () => {
    await declare({ overlap: 'cancel' })
    const first = await fire([ONE])
    const second = await fire(['2026-05-01T13:30:00.000Z', TWO], ONE)
    expect(second).toMatchObject({ state: 'fired', jobs: [expect.any(Number)], skipped: 1 })
    expect(await job(first.jobs[0])).toMatchObject({ state: 'cancelled' })
    expect(await job(second.jobs[0])).toMatchObject({ state: 'available', metadata: { schedule: { at: TWO } } })
  })

  it('allow enqueues another', async () => {
    await declare()
    await fire([ONE])
    expect((await fire([TWO], ONE)).jobs).toHaveLength(1)
  })
})

describe('what enqueue refuses', () => {
  it('is put on record, stays due and is tried again later and later, until it succeeds', async () => {
    await declare()
    await database.sql`update millrace.schedule set priority = 9`
    expect(await fire([ONE])).toMatchObject({
      state: 'failed',
      error: { code: 'invalid_priority', message: expect.stringContaining('priority'), tries: 1 },
      retry_in_ms: 5000,
    })
    expect(await fire([ONE])).toMatchObject({ error: { tries: 2 }, retry_in_ms: 10_000 })
    const failed = await row()
    expect(failed).toMatchObject({ done_to: NOON, last_job: null, error: { tries: 2 } })
    await database.sql`update millrace.schedule set error = error || '{"tries": 60}'`
    expect(await fire([ONE])).toMatchObject({ retry_in_ms: 3_600_000 })
    expect(await database.sql`select from millrace.job_log`).toHaveLength(0)

    await database.sql`update millrace.schedule set priority = 1`
    expect(await fire([ONE])).toMatchObject({ state: 'fired' })
    expect(await row()).toMatchObject({ done_to: ONE, error: null })
  })

  it('is all or none of a pass', async () => {
    await declare()
    await database.sql`update millrace.schedule set kind = ''`
    expect(await fire([ONE, TWO])).toMatchObject({ state: 'failed', error: { code: 'invalid_kind' } })
    expect(await database.sql`select from millrace.job_log`).toHaveLength(0)
  })
})

describe('operating', () => {
  const pause = async (by: string | null = null) =>
    only(await database.sql<{ done: boolean | null }[]>`select millrace.pause_schedule('hourly', ${by}) as done`).done
  const resume = async () =>
    only(await database.sql<{ done: boolean | null }[]>`select millrace.resume_schedule('hourly') as done`).done
  const trigger = async () =>
    only(await database.sql<{ id: string | null }[]>`select millrace.trigger_schedule('hourly') as id`).id

  it('pauses once, keeps who did it, and resumes from then on', async () => {
    await declare()
    expect(await pause('anna')).toBe(true)
    expect(await pause('bert')).toBe(false)
    expect(await database.sql`select paused_by from millrace.schedule`).toEqual([{ paused_by: 'anna' }])
    expect(await resume()).toBe(true)
    expect(await resume()).toBe(false)
    const [state] = await database.sql`
      select next_at, paused_at, paused_by, now() - done_to < interval '1 minute' as from_now from millrace.schedule`
    expect(state).toEqual({ next_at: null, paused_at: null, paused_by: null, from_now: true })
    expect(await fire([ONE])).toEqual({ state: 'stale' })
  })

  it('triggers a job at once, paused or not, and leaves the schedule where it is', async () => {
    await declare({ time_arg: 'hour', overlap: 'skip' })
    await fire([ONE])
    await pause()
    const before = await row()

    const id = await trigger()

    const triggered = await job(Number(id))
    const at = (triggered?.metadata.schedule as { at: string } | undefined)?.at ?? ''
    expect(triggered).toMatchObject({
      args: { format: 'pdf', hour: at },
      metadata: { schedule: { name: 'hourly', triggered: true } },
    })
    expect(Math.abs(Date.parse(at) - Date.now())).toBeLessThan(60_000)
    expect(await row()).toEqual(before)
  })

  it('answers null when there is no such schedule', async () => {
    expect([await pause(), await resume(), await trigger()]).toEqual([null, null, null])
  })

  it('has nothing to do with other jobs', async () => {
    await running(database)
    await declare({ overlap: 'skip' })
    expect((await fire([ONE])).jobs).toHaveLength(1)
  })
})
