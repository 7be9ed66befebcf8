// Rescue of attempts that were moved to another segment, of which the old one still tells.

import { expect, it } from 'vitest'
import { claimAll, enqueue, useEngine, view } from '../support/engine-database.ts'

const database = useEngine()

it('forgets a dead dispatcher only once all that it held after a restore is retried', async () => {
  const { sql, engine } = database
  const ids = await enqueue(sql, 3)
  await claimAll(database)
  await sql`update millrace.cluster set identifier = 1`
  await sql`select millrace.attach()`
  await sql`update millrace.runtime set lost_at = '-infinity'`
  for (let lap = 0; lap < 5; lap += 1) await engine.rescue(2)
  expect(await Promise.all(ids.map(async id => (await view(database, id)).state))).toEqual(ids.map(() => 'retryable'))
})
