// Who leads: one process at a time, whatever becomes of it.

import { type Sql, type SqlValue, toSql } from 'millrace'
import { formatKeyring } from 'millrace/protocol'
import { expect, onTestFinished, test } from 'vitest'
import { MaintenanceEngine } from '../../core/maintenance-engine.ts'
import type { PostgresSql } from '../../functions/node/postgres-sql.ts'
import { startCli } from '../support/cli.ts'
import { keyring } from '../support/ingress.ts'
import { freshDatabase } from '../support/maintenance.ts'

const soon = { timeout: 10_000, interval: 20 }

/** Asleep they pulse every 40 s, so whatever comes sooner was told. */
const seldom = { listen: true, asleepPulseMs: 40_000 }

test('the first one leads; when it ends in good order a sleeping one takes over at once', async () => {
  const database = await freshDatabase()
  const first = await database.maintain(seldom)
  await first.events.first({ type: 'leading', epoch: '1' })
  const second = await database.maintain(seldom)
  await second.events.first({ type: 'asleep' })
  expect(second.events.of({ type: 'leading' })).toEqual([])
  await first.stop()
  await second.events.first({ type: 'leading', epoch: '2' })
  expect(first.events.of({ type: 'deposed' })).toEqual([])
})

test('one that dispatches only does not lead', async () => {
  const database = await freshDatabase()
  const first = await database.maintain({ onlyDispatch: true, listen: true })
  await first.events.first({ type: 'asleep' })
  const second = await database.maintain({ noDispatch: true })
  await second.events.first({ type: 'leading', epoch: '1' })
})

test('SIGKILL: another one leads once the lease is over, and what the dead one still sends is refused', async () => {
  const database = await freshDatabase()
  const killed = await startCli(['maintain', '--quiet'], {
    env: { DATABASE_URL: database.url, MILLRACE_KEYS: formatKeyring(keyring) },
  })
  onTestFinished(() => {
    killed.child.kill('SIGKILL')
  })
  const leader = async () => (await database.sql`select holder, epoch::text from millrace.leader`)[0]
  await expect
    .poll(leader, soon)
    .toMatchObject({ epoch: '1', holder: expect.stringContaining(`:${killed.child.pid} `) })
  const other = await database.maintain()
  killed.child.kill('SIGKILL')
  await killed.closed
  expect(other.events.of({ type: 'leading' })).toEqual([])
  const maintenance = new MaintenanceEngine(toSql(database.sql))
  await maintenance.rotate('1')
  await database.sql`update millrace.leader set until = clock_timestamp()`
  await other.events.first({ type: 'leading', epoch: '2' })
  for (const verb of ['rotate', 'prune', 'survey'] as const)
    await expect(maintenance[verb]('1')).rejects.toMatchObject({ code: 'not_leader' })
})

test('a lease whose answer got lost is given back all the same', async () => {
  const database = await freshDatabase()
  const wrap = (sql: PostgresSql): Sql => ({
    async query<Row>(text: string, params: readonly SqlValue[] = []) {
      const rows = await sql.query<Row>(text, params)
      if (text.includes('.pulse(')) throw new Error('the connection broke')
      return rows
    },
  })
  const work = await database.maintain({ noDispatch: true, wrap })
  await work.events.first({ type: 'error', during: 'pulse' })
  const leads = () => database.sql`select holder from millrace.leader where until > clock_timestamp()`
  expect(await leads()).toHaveLength(1)
  await work.stop()
  expect(await leads()).toHaveLength(0)
})

test('one whose lease was lost learns of it, and leads again when it can', async () => {
  const database = await freshDatabase()
  const work = await database.maintain()
  await work.events.first({ type: 'leading', epoch: '1' })
  await database.sql`update millrace.leader set holder = 'usurper', epoch = 2, until = clock_timestamp() + interval '1 hour'`
  await work.events.first({ type: 'deposed', epoch: '1' })
  await database.sql`update millrace.leader set until = clock_timestamp()`
  await work.events.first({ type: 'leading', epoch: '3' })
})

test('the leader rotates when it is time', async () => {
  const database = await freshDatabase()
  await database.enqueue('work')
  await database.sql`update millrace.segment set opened_at = now() - interval '5 hours'`
  const work = await database.maintain({ noDispatch: true })
  await work.events.first({ type: 'rotated', segment: '1' })
})

test('the leader fires schedules when they are due, asleep or awake', async () => {
  const database = await freshDatabase()
  const work = await database.maintain({ ...seldom, noDispatch: true })
  await work.events.first({ type: 'asleep' })
  await database.declare([{ name: 'work' }])
  await database.sql`
    insert into millrace.schedule (name, expression, timezone, kind, args, missed, overlap, source)
    values ('secondly', '* * * * * *', 'UTC', 'work', '{}', 'coalesce', 'allow', 'default')`
  await database.sql.notify('millrace_wake', 'schedules')
  await work.events.until({ type: 'fired', schedule: 'secondly' }, 2)
})
