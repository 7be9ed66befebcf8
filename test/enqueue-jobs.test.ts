// Two statements insert jobs: one for plain jobs, one that knows of keys. For plain jobs they do the same.

import fc from 'fast-check'
import type postgres from 'postgres'
import { expect, it } from 'vitest'
import { type Client, useEngine } from './support/engine-database.ts'

const database = useEngine()

const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })
const plainJob = fc.record({
  kind: fc.constantFrom('declared', 'unknown', '', 'millrace.own'),
  args: maybe(fc.constantFrom(null, 1, 'text', [], { a: { b: 1 } })),
  queue: maybe(fc.constantFrom('q', 'default', 'x'.repeat(201))),
  priority: maybe(fc.integer({ min: 0, max: 5 })),
  run_at: maybe(fc.constantFrom('2020-01-01T00:00:00Z', '2099-01-01T00:00:00Z', 'infinity')),
  delay_seconds: maybe(fc.constantFrom(-1, 0, 0.5, 60, -1e300)),
  max_attempts: maybe(fc.constantFrom(0, 1, 1000, 1001)),
  tags: maybe(fc.constantFrom([], ['a'], [''], ['a', null])),
  metadata: maybe(fc.constantFrom({}, { a: 1 }, [], { 'awa:a': 1 })),
})
/** Mostly jobs that are within the limits, so that whole batches are too. */
const goodJob = plainJob.map(job => ({
  ...job,
  kind: job.kind === 'declared' ? 'declared' : 'unknown',
  queue: job.queue === 'q' ? 'q' : undefined,
  priority: job.priority && ((job.priority - 1) % 4) + 1,
  run_at: job.run_at === 'infinity' ? undefined : job.run_at,
  delay_seconds:
    job.run_at === undefined || job.run_at === 'infinity' ? Math.min(Math.abs(job.delay_seconds ?? 0), 60) : undefined,
  max_attempts: job.max_attempts === 1 ? 1 : undefined,
  tags: job.tags?.every(Boolean) ? job.tags : undefined,
  metadata: job.metadata && 'a' in job.metadata ? job.metadata : undefined,
}))
const batches = fc.oneof(
  { weight: 4, arbitrary: fc.array(goodJob, { maxLength: 12 }) },
  { weight: 1, arbitrary: fc.array(fc.oneof(goodJob, plainJob), { maxLength: 6 }) },
)

/** What a call left behind in its transaction, without the ids; or the code of its error. */
async function rowsAfter(tx: Client & postgres.Sql, call: string, jobs: unknown): Promise<unknown> {
  await tx`savepoint before`
  try {
    const ids = await tx.unsafe(`select id from millrace.${call}($1::text::jsonb) as id`, [JSON.stringify(jobs)])
    const rows = await tx`
      select to_jsonb(j) - 'id' as row, id from millrace.job_log j
      union all select to_jsonb(d) - 'id', id from millrace.deferred d order by id`
    expect(ids).toHaveLength(rows.length)
    return rows.map(({ row }) => row)
  } catch (error) {
    return (error as { constraint_name: string }).constraint_name ?? error
  } finally {
    await tx`rollback to savepoint before`
  }
}

it('enqueue_many and enqueue_jobs leave the same rows behind, or refuse with the same code', async () => {
  await database.sql`
    insert into millrace.kind (name, queue, priority, max_attempts, source) values ('declared', 'slow', 4, 3, 'test')`
  const client = await database.connect()
  let inserted = 0
  await fc.assert(
    fc.asyncProperty(batches, async jobs => {
      await client`begin`
      const plain = await rowsAfter(client, 'enqueue_many', jobs)
      const keyed = await rowsAfter(client, 'enqueue_jobs', jobs)
      await client`rollback`
      expect(keyed).toEqual(plain)
      if (Array.isArray(plain)) inserted += plain.length
      else expect(plain).toMatch(/^invalid_/)
    }),
    { numRuns: 150 },
  )
  expect(inserted).toBeGreaterThan(100)
})

it('a delay that no interval or no time can hold is refused as others are', async () => {
  for (const delay_seconds of [1e300, -1e300, 9e12, 'NaN', 'Infinity']) {
    for (const call of ['enqueue_many', 'enqueue_jobs']) {
      const jobs = JSON.stringify([{ kind: 'k', delay_seconds }])
      await expect(database.sql.unsafe(`select millrace.${call}($1::text::jsonb)`, [jobs])).rejects.toMatchObject({
        constraint_name: 'invalid_run_at',
      })
    }
  }
  await expect(database.sql`select millrace.enqueue('k', delay => '200000 years')`).rejects.toMatchObject({
    constraint_name: 'invalid_run_at',
  })
})
