// Outcomes are put on record even where one of them has to wait.

import { expect, test } from 'vitest'
import { Closer } from '../../core/dispatch/closer.ts'
import type { MaintenanceEvent } from '../../core/dispatch/events.ts'
import { claimAll, completed, enqueue, ref, useEngine, view } from '../support/engine-database.ts'
import { Recorder } from '../support/maintenance-recorder.ts'

const database = useEngine()

test('one attempt that an open transaction holds keeps the others waiting only for a moment, and is closed after it', async () => {
  await enqueue(database.sql, 40)
  const jobs = await claimAll(database)
  const [held, ...free] = jobs
  if (held === undefined) throw new Error('nothing to hold')
  const other = await database.connect()
  await other`begin`
  await other`insert into millrace.outcome_log (id, attempt, slot, state) values (${held.id}, 1, 0, 'x')`
  const events = new Recorder<MaintenanceEvent>()
  const closer = new Closer(database.engine, events.push)

  const blocked = closer.close({ ...ref(held), outcome: completed })
  const others = free.map(job => closer.close({ ...ref(job), outcome: completed }))
  expect(await Promise.all(others)).toEqual(free.map(() => ({ state: 'completed', fresh: true })))
  // From now on it is tried on its own: what comes later does not meet it again.
  await events.until({ type: 'error', during: 'close' })
  await enqueue(database.sql, 1)
  const [late] = await claimAll(database)
  if (late === undefined) throw new Error('nothing was claimed')
  const began = performance.now()
  expect(await closer.close({ ...ref(late), outcome: completed })).toMatchObject({ state: 'completed' })
  expect(performance.now() - began).toBeLessThan(1_500)

  await other`rollback`
  expect(await blocked).toEqual({ state: 'completed', fresh: true })
  expect(await view(database, held.id)).toMatchObject({ state: 'completed' })
})
