// nextDue: when a tick is worth it next. And ticks that do a part only.

import { nextDue, tick } from 'millrace/maintenance'
import { expect, onTestFinished, test } from 'vitest'
import { postgresSql } from '../../functions/node/postgres-sql.ts'
import { undiciTransport } from '../../functions/node/undici-transport.ts'
import { startFunctionServer } from '../support/function-server.ts'
import { keyring } from '../support/ingress.ts'
import { freshDatabase } from '../support/maintenance.ts'

async function ticking() {
  const database = await freshDatabase()
  const fn = await startFunctionServer()
  await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync' } }])
  const [sql, transport] = [postgresSql(database.url, { max: 4 }), undiciTransport({ allow: ['loopback'] })]
  onTestFinished(async () => {
    await transport.end()
    await sql.end(1)
  })
  const run = (options: object = {}) => tick({ sql, transport, keyring, budgetMs: 10_000, ...options })
  return { database, run, due: () => nextDue({ sql }) }
}

test('nothing is due where there is nothing, and whoever asks keeps no lease', async () => {
  const { database, due } = await ticking()
  expect(await due()).toEqual({ dispatchMs: undefined, dutyMs: undefined })
  expect(await database.sql`select from millrace.leader where until > now()`).toHaveLength(0)
  expect(await database.sql`select from millrace.runtime`).toHaveLength(0)
})

test('deferred jobs, schedules and jobs that could not be claimed say when', async () => {
  const { database, due } = await ticking()
  await database.enqueue('work', {}, { delay_seconds: 60 })
  expect(await due()).toEqual({ dispatchMs: expect.closeTo(60_000, -4), dutyMs: undefined })
  await database.sql`
    insert into millrace.schedule (name, expression, timezone, kind, args, missed, overlap, source, done_to, next_at)
    values ('daily', '0 0 * * *', 'UTC', 'work', '{}', 'coalesce', 'allow', 'default', now(), now() + interval '20 s')`
  expect(await due()).toMatchObject({ dutyMs: expect.closeTo(20_000, -4) })
  await database.enqueue('work')
  expect(await due()).toMatchObject({ dispatchMs: 1_000, dutyMs: 10_000 })
})

test('somebody else who leads does the chores, and is looked after', async () => {
  const { database, due } = await ticking()
  await database.maintain({ noDispatch: true }).then(work => work.events.first({ type: 'leading' }))
  const { dutyMs } = await due()
  expect(dutyMs).toBeGreaterThan(0)
})

test('a tick claims no more than it may, and says that there is more', async () => {
  const { database, run } = await ticking()
  await database.enqueueMany('work', 30)
  expect(await run({ maxJobs: 10, batch: 10 })).toMatchObject({ claimed: 10, closed: 10, more: true })
  expect(await run({ maxJobs: 100 })).toMatchObject({ claimed: 20, closed: 20, more: false })
})

test('a tick that only dispatches rescues nothing and does not lead', async () => {
  const { database, run } = await ticking()
  await database.enqueue('work')
  await database.engine.claim(await database.engine.runtimeStart('gone'), 1)
  await database.sql`update millrace.runtime set lost_at = now() - interval '1 second'`
  await database.enqueue('work')
  expect(await run({ onlyDispatch: true })).toMatchObject({ rescued: 0, claimed: 1, closed: 1 })
  expect(await database.sql`select from millrace.leader`).toHaveLength(0)
  expect(await run()).toMatchObject({ rescued: 1, closed: 1 })
})
