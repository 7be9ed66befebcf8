// Bulk operations: what they take and refuse, a chunk at a time.

import { toSql } from 'millrace'
import type { BatchFilter, BatchOperation } from 'millrace/admin'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { MaintenanceEvent } from '../../core/dispatch/events.ts'
import { batches as chore } from '../../core/maintenance/batches.ts'
import { MaintenanceEngine } from '../../core/maintenance-engine.ts'
import { batchTools, idsOf, useAdmin } from '../support/admin.ts'
import { claimAll, close, completed, enqueue, running, view } from '../support/engine-database.ts'
import { startMaintenance } from '../support/maintenance.ts'

const database = useAdmin()
const { batches, submit, finish, failedJobs, standing } = batchTools(database)

describe('a batch', () => {
  it('retries failed jobs, a hundred at a time, and leaves those alone that come later', async () => {
    await failedJobs(250)
    const batch = await submit('retry', { all: true })
    expect(batch).toMatchObject({
      ...{ state: 'pending', operation: 'retry', filter: { all: true, state: ['failed'] }, params: {} },
      ...{ created_by: 'tests', matched: 0, changed: 0, refused: 0, error: null, finished_at: null },
    })
    await failedJobs(5, 'later')
    expect(await finish(batch)).toMatchObject({ steps: 3, state: 'completed', matched: 250, changed: 250, refused: 0 })
    expect(await standing()).toEqual({ 'default available 2': 250, 'later failed 1': 5 })
    expect((await batches().get(batch.id))?.finished_at).not.toBeNull()
  })

  it('cancels what has not ended', async () => {
    await close(database, await running(database), completed)
    await enqueue(database.sql, 150)
    await enqueue(database.sql, 5, { delay_seconds: 60 })
    expect(await finish(await submit('cancel', { all: true }))).toMatchObject({
      matched: 155,
      changed: 155,
      refused: 0,
    })
    expect(await standing()).toMatchObject({ 'default completed 1': 1 })
    expect(await claimAll(database)).toHaveLength(0)
  })

  it('moves what waits and refuses what runs', async () => {
    await enqueue(database.sql, 10, { queue: 'a' })
    const [job] = await claimAll(database, 1)
    await enqueue(database.sql, 2, { queue: 'a', delay_seconds: 60 })
    await enqueue(database.sql, 3, { queue: 'b' })
    const batch = await submit('move_queue', { queue: 'a' }, { queue: 'c', priority: 1 })
    expect(await finish(batch)).toMatchObject({ matched: 12, changed: 11, refused: 1 })
    expect(await standing()).toEqual({
      ...{ 'a running 1': 1, 'b available 1': 3, 'c available 2': 9, 'c scheduled 1': 2 },
    })
    expect(job && (await close(database, job, completed))).toMatchObject({ fresh: true })
  })

  it('sets the priority, also by ids', async () => {
    const ids = await enqueue(database.sql, 3)
    await finish(await submit('set_priority', { ids: ids.slice(0, 2) }, { priority: 4 }))
    expect(await Promise.all(ids.map(async id => (await view(database, id)).priority))).toEqual([4, 4, 2])
  })

  it('counts as refused what an error is in the way of, says so, and goes on', async () => {
    const ids = await failedJobs(5)
    await database.sql.unsafe(`
      create function refuse_third() returns trigger language plpgsql as $$ begin
        if new.id = ${ids[2]} and new.attempt = 2 then raise exception 'no room'; end if; return new; end $$;
      create trigger refuse_third before insert on millrace.job_log for each row execute function refuse_third()`)
    onTestFinished(async () => {
      await database.sql`drop function refuse_third cascade`
    })
    expect(await finish(await submit('retry', { all: true }))).toMatchObject({
      ...{ matched: 5, changed: 4, refused: 1, error: `job ${ids[2]}: no room`, state: 'completed' },
    })
    expect(await standing()).toEqual({ 'default available 2': 4, 'default failed 1': 1 })
  })

  it('stops when it is cancelled; what is done stays done', async () => {
    await failedJobs(150)
    const { id } = await submit('retry', { all: true })
    await batches().step(id)
    expect(await batches().cancel(id)).toMatchObject({ state: 'cancelled', changed: 100 })
    expect(await batches().step(id)).toBeUndefined()
    expect(await batches().cancel(id)).toMatchObject({ state: 'cancelled' })
    expect(await batches().cancel(987654)).toBeUndefined()
    expect(await standing()).toEqual({ 'default available 2': 100, 'default failed 1': 50 })
  })

  it('is done by the leader only, where it says who it is', async () => {
    const { id } = await submit('retry', { all: true })
    await expect(batches().step(id, 7)).rejects.toMatchObject({ code: 'not_leader' })
  })
})

describe('before and after', () => {
  it('a preview counts, up to a bound, and shows the newest ten', async () => {
    const ids = await failedJobs(12)
    const preview = await batches().preview('retry', { all: true })
    expect(preview).toMatchObject({ count: 12, lower_bound: false })
    expect(idsOf(preview.sample)).toEqual(ids.slice(2).reverse())
    expect(await batches().preview('cancel', { all: true })).toEqual({ count: 0, lower_bound: false, sample: [] })
    await database.sql`select count(millrace.enqueue('resize', '{}')) from generate_series(1, 10001)`
    expect(await batches().preview('cancel', { all: true })).toMatchObject({ count: 10_000, lower_bound: true })
  })

  it('batches are listed newest first, in pages and by state, and forgotten when they are old', async () => {
    const [one, two, three] = [
      await submit('retry', { all: true }),
      await submit('cancel', { kind: 'mail' }),
      await submit('retry', { kind: 'mail' }),
    ]
    await finish(two)
    const page = await batches().list({ limit: 2 })
    expect(idsOf(page.items)).toEqual(idsOf([three, two]))
    expect(idsOf((await batches().list({ cursor: page.cursor })).items)).toEqual(idsOf([one]))
    expect(idsOf((await batches().list({ state: 'completed' })).items)).toEqual(idsOf([two]))
    expect(await batches().purge()).toBe(0)
    expect(await batches().purge(0)).toBe(1)
    expect(await batches().get(two.id)).toBeUndefined()
    expect(await batches().open()).toEqual([one.id, three.id])
  })

  it.each([
    ['retry', {}, {}],
    ['retry', { all: false }, {}],
    ['retry', { all: true, queue: 'a' }, {}],
    ['retry', { all: true }, { priority: 1 }],
    ['explode', { all: true }, {}],
    ['set_priority', { all: true }, {}],
    ['set_priority', { all: true }, { queue: 'a' }],
    ['move_queue', { all: true }, { priority: 1 }],
    ['retry', { colour: 'red' }, {}],
  ])('%s %o %o is refused', async (operation, filter, params) => {
    for (const verb of ['submit', 'preview'] as const) {
      await expect(batches()[verb](operation as BatchOperation, filter as BatchFilter, params)).rejects.toMatchObject({
        code: 'invalid_request',
      })
    }
  })

  it('and so is a lane that is none', async () => {
    await expect(submit('set_priority', { all: true }, { priority: 5 })).rejects.toMatchObject({
      code: 'invalid_priority',
    })
    await expect(submit('move_queue', { all: true }, { queue: '' })).rejects.toMatchObject({ code: 'invalid_queue' })
  })
})

describe('the leader', () => {
  it('does a chunk of every open batch, and again at once until they are done', async () => {
    const engine = new MaintenanceEngine(toSql(database.sql))
    const epoch = (await engine.lead('a', 60)) as string
    const events: MaintenanceEvent[] = []
    const run = () => chore.runOnce(engine, epoch, event => events.push(event))
    expect(await run()).toEqual({ did: 0, more: false })
    await failedJobs(150)
    const retry = await submit('retry', { all: true })
    const cancel = await submit('cancel', { kind: 'mail' })
    expect(await run()).toEqual({ did: 2, more: true })
    expect(events).toEqual([{ type: 'batch', batch: cancel.id, changed: 0, refused: 0 }])
    expect(await run()).toEqual({ did: 1, more: false })
    expect(events.at(-1)).toEqual({ type: 'batch', batch: retry.id, changed: 150, refused: 0 })
  })

  it('begins as soon as a batch is submitted', async () => {
    await failedJobs(5)
    await database.admin.queues.pause('default')
    const { events, stop } = await startMaintenance(database.url, { listen: true })
    onTestFinished(() => stop())
    await events.first({ type: 'asleep' })
    const { id } = await submit('retry', { all: true })
    expect(await events.first({ type: 'batch' })).toMatchObject({ batch: id, changed: 5, refused: 0 })
    expect(await batches().get(id)).toMatchObject({ state: 'completed' })
  })

  it('that was deposed is refused', async () => {
    const engine = new MaintenanceEngine(toSql(database.sql))
    await submit('retry', { all: true })
    await expect(chore.runOnce(engine, '99', () => undefined)).rejects.toMatchObject({ code: 'not_leader' })
  })
})
