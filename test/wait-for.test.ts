// Waiting for a job's end, over the drivers that callers bring along.

import pg from 'pg'
import postgres from 'postgres'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Database, getJob, type Sql, toSql, waitFor } from '../core/index.ts'
import { close, completed, enqueue, fatal, only, running, useEngine } from './support/engine-database.ts'

const database = useEngine()

/** A connection that counts, and runs something before the n-th statement. */
function watched(before: (nth: number) => unknown): Sql & { statements: number } {
  const sql = toSql(database.sql)
  const seen = {
    statements: 0,
    async query<Row>(text: string, params?: Parameters<Sql['query']>[1]): Promise<Row[]> {
      await before(++seen.statements)
      return sql.query<Row>(text, params)
    },
  }
  return seen
}

describe('waitFor', () => {
  test('resolves once the job is completed, with its result', async () => {
    const job = await running(database)
    const sql = watched(nth => nth === 3 && close(database, job, { kind: 'completed', result: { pages: 2 } }))
    const finished = await waitFor<{ pages: number }>(sql, job.id)
    expect(finished).toMatchObject({ id: Number(job.id), state: 'completed', result: { pages: 2 }, attempt: 1 })
    expect(finished.result?.pages).toBe(2)
    expect(sql.statements).toBe(3)
  })

  test('resolves with a job that has failed, and with a cancelled one', async () => {
    const [failed, cancelled] = [await running(database), await running(database)]
    await close(database, failed, fatal)
    await database.sql`select * from millrace.cancel(array[${cancelled.id}]::bigint[], 'no longer wanted')`
    expect(await waitFor(database.sql, failed.id)).toMatchObject({ state: 'failed', errors: [{ code: 'reported' }] })
    expect(await waitFor(database.sql, cancelled.id)).toMatchObject({ state: 'cancelled' })
  })

  test('goes on waiting through retries', async () => {
    const job = await running(database)
    await close(database, job, { kind: 'failed', retryable: true, error: { code: 'reported', message: '' } })
    await expect(waitFor(database.sql, job.id, { timeoutSeconds: 0.05 })).rejects.toMatchObject({
      code: 'timeout',
      message: expect.stringContaining('retryable'),
    })
  })

  test('a job that there is not is not found', async () => {
    await expect(waitFor(database.sql, '987654321')).rejects.toMatchObject({ code: 'not_found' })
  })

  test('what is no id is refused', async () => {
    await expect(waitFor(database.sql, 'forty-two')).rejects.toMatchObject({ code: 'invalid_request' })
    await expect(getJob(database.sql, '1.5')).rejects.toMatchObject({ code: 'invalid_request' })
  })

  test('a signal ends it, with its reason, also in the middle of a pause', async () => {
    const [id = ''] = await enqueue(database.sql)
    const reason = new Error('the user has gone')
    const abort = new AbortController()
    const sql = watched(nth => nth === 2 && setImmediate(() => abort.abort(reason)))
    await expect(waitFor(sql, id, { signal: abort.signal, pollMs: 60_000 })).rejects.toBe(reason)
    await expect(waitFor(sql, id, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })

  test('looks less and less often', async () => {
    const [id = ''] = await enqueue(database.sql)
    const at: number[] = []
    const sql = watched(() => at.push(performance.now()))
    await expect(waitFor(sql, id, { timeoutSeconds: 0.4 })).rejects.toMatchObject({ code: 'timeout' })
    expect(at.length).toBeGreaterThan(2)
    expect(at.length).toBeLessThan(8)
  })
})

describe.each<[string, () => Database]>([
  ['postgres.js', () => opened(postgres(database.url, { max: 1 }), client => client.end())],
  ['postgres.js without types', () => opened(postgres(database.url, { max: 1, fetch_types: false }), c => c.end())],
  ['pg', () => opened(new pg.Pool({ connectionString: database.url, max: 1 }), pool => pool.end())],
])('over %s', (_, open) => {
  test('a job is the same', async () => {
    const job = await running(database)
    await close(database, job, completed)
    const db = open()
    expect(await getJob(db, job.id)).toEqual(await database.engine.job(job.id))
    expect(await waitFor(db, Number(job.id))).toMatchObject({ state: 'completed', args: { n: 0 }, errors: [] })
    expect(await getJob(db, 987_654_321)).toBeUndefined()
  })
})

function opened<T>(client: T, end: (client: T) => Promise<unknown>): T {
  onTestFinished(async () => void (await end(client)))
  return client
}

test('getJob sees a job that has not ended, in the transaction that enqueues it too', async () => {
  await database.sql.begin(async tx => {
    const id = only(await enqueue(tx))
    expect(await getJob(tx, id)).toMatchObject({ state: 'available', attempt: 1 })
  })
})
