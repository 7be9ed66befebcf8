// Closing many attempts in one call, inside of a caller's transaction, and what subscribers get of it.

import { describe, expect, it } from 'vitest'
import type { Outcome } from '../../core/engine.ts'
import {
  claimAgain,
  claimAll,
  close,
  completed,
  delay,
  enqueue,
  failed,
  fatal,
  only,
  putBack,
  ref,
  released,
  running,
  useEngine,
  view,
} from '../support/engine-database.ts'

const database = useEngine()

describe('many in one call', () => {
  it('are fenced one by one, and answered in order', async () => {
    const jobs = [await running(database), await running(database), await running(database), await running(database)]
    await close(database, jobs[1] as never, { kind: 'completed', result: 'first' })
    const outcomes = [failed(), completed, released, completed]
    const closed = await database.engine.close(
      jobs.map((job, n) => ({ ...ref(job), outcome: outcomes[n] as Outcome })).toReversed(),
    )
    expect(closed.toReversed()).toEqual([
      { state: 'retryable', fresh: true },
      { state: 'completed', fresh: false, result: 'first' },
      { state: 'available', fresh: true },
      { state: 'completed', fresh: true },
    ])
  })

  it('may hold the same attempt more than once: the first counts', async () => {
    const job = await running(database)
    const outcomes = [putBack(60_000), completed, failed('x', 0), putBack(0)]
    const closed = await database.engine.close(outcomes.map(outcome => ({ ...ref(job), outcome })))
    expect(closed.map(({ fresh }) => fresh)).toEqual([true, false, false, false])
    expect(new Set(closed.map(({ state }) => state))).toEqual(new Set(['available']))
    expect(await delay(database)).toBeCloseTo(60, 1)
  })

  it('may hold the same attempt under a segment that is gone: the true one counts', async () => {
    const job = await running(database)
    const closed = await database.engine.close([
      { ...ref(job), segment: '99', outcome: completed },
      { ...ref(job), outcome: failed() },
    ])
    expect(closed).toMatchObject([{ fresh: false }, { state: 'retryable', fresh: true }])
    expect(await claimAgain(database)).toHaveLength(1)
  })

  it.each([
    ['completed', completed],
    ['completed with a result', { kind: 'completed', result: { pages: 1 } }],
    ['failed', failed()],
    ['put back', putBack()],
    ['released', released],
  ] satisfies [string, Outcome][])('may be thousands: %s', { timeout: 5_000 }, async (_, outcome) => {
    await enqueue(database.sql, 5000)
    const jobs = await claimAll(database, 5000)
    const closed = await database.engine.close(jobs.map(job => ({ ...ref(job), outcome })))
    expect(closed.filter(({ fresh }) => fresh)).toHaveLength(5000)
    expect(new Set(closed.map(({ state }) => state)).size).toBe(1)
  })
})

describe("in a caller's transaction", () => {
  it('is undone with it', async () => {
    const caller = await database.connect()
    const job = await running(database)
    await caller`begin`
    await caller`select millrace.close(array[0], array[${job.id}]::bigint[], array[1], array['retry'])`
    await caller`rollback`
    expect(await view(database, job.id)).toMatchObject({ state: 'running' })
    expect(await close(database, job, completed)).toEqual({ state: 'completed', fresh: true })
  })

  it('makes a second closer wait, and take over when it is undone', async () => {
    const caller = await database.connect()
    const job = await running(database)
    await caller`begin`
    await caller`select millrace.close(array[0], array[${job.id}]::bigint[], array[1], array['completed'])`
    const second = close(database, job, failed())
    await database.sql`select 1` // The second has been sent by now.
    await caller`rollback`
    expect(await second).toEqual({ state: 'retryable', fresh: true })
  })
})

describe('subscriptions', () => {
  const subscribe = (name: string, kinds: string[] | null, events: string[]) => database.sql`
    insert into millrace.endpoint (name, kinds, events, url)
    values (${name}, ${kinds === null ? null : `{${kinds}}`}::text::text[], ${`{${events}}`}::text::text[], 'https://a.example')`

  it('get a delivery for each end they asked for, and only for ends', async () => {
    await subscribe('all', null, ['completed', 'failed'])
    await subscribe('failures', ['resize'], ['failed'])
    await subscribe('others', ['other'], ['completed', 'failed'])
    const [one, two, three] = [await running(database), await running(database), await running(database)]
    await database.engine.close([
      { ...ref(one), outcome: { kind: 'completed', result: 7 } },
      { ...ref(two), outcome: fatal },
      { ...ref(three), outcome: failed() },
    ])
    const deliveries = (await claimAll(database)).map(({ kind, queue, args }) => ({ kind, queue, ...JSON.parse(args) }))
    expect(deliveries.map(({ endpoint, event }) => [endpoint, event.type, String(event.data.job_id)])).toEqual([
      ['all', 'job.completed', one.id],
      ['all', 'job.failed', two.id],
      ['failures', 'job.failed', two.id],
    ])
    expect(deliveries[0]).toMatchObject({ kind: 'millrace.webhook', queue: 'millrace.webhooks' })
    expect(deliveries[0].event.data).toMatchObject({ state: 'completed', result: 7, kind: 'resize', attempt: 1 })
    expect(deliveries[1].event.data).toMatchObject({ error: { code: 'reported', message: 'no such order' } })
  })

  it('get no delivery about deliveries', async () => {
    await subscribe('all', null, ['completed', 'failed'])
    await close(database, await running(database), completed)
    await close(database, only(await claimAll(database)), completed)
    expect(await claimAll(database)).toEqual([])
  })
})
