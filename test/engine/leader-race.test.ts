// Candidates on connections of their own, with leases shorter than what they do under them: no two ever write as leaders in turns.

import { expect, it } from 'vitest'
import { useEngine } from '../support/engine-database.ts'

const database = useEngine()

const CANDIDATES = 4
const WRITES = 100

interface Write {
  readonly holder: string
  readonly epoch: number
  readonly began: number
  readonly ended: number
}

it('a change of hands falls between the transactions of two leaders, never into one', async () => {
  await database.sql`create table written (holder text, epoch bigint, began timestamptz, ended timestamptz)`
  let left = WRITES
  let refused = 0
  /** Leads for 5 ms at a time, and does what takes up to 10 ms. */
  const candidate = async (holder: string) => {
    const client = await database.connect()
    while (left > 0) {
      const [lease] = await client`select millrace.lead('maintenance', ${holder}, 0.005) as epoch`
      if (lease?.epoch === null) continue
      try {
        await client.begin(async tx => {
          await tx`select pg_sleep(random() * 0.006)`
          await tx`select millrace.require_leader(${lease?.epoch}::text::bigint)`
          const [row] = await tx`select clock_timestamp()::text as began, pg_sleep(random() * 0.01)`
          await tx`insert into written values (${holder}, ${lease?.epoch}, ${row?.began}, clock_timestamp())`
        })
        left--
      } catch (error) {
        expect(error).toMatchObject({ code: '55000', constraint_name: 'not_leader' })
        refused++
      }
      if (left % 7 === 0) await client`select millrace.resign('maintenance', ${holder})`
    }
  }
  await Promise.all(Array.from({ length: CANDIDATES }, (_, n) => candidate(`candidate ${n}`)))

  const writes = await database.sql<Write[]>`
    select holder, epoch::int, extract(epoch from began)::float8 as began, extract(epoch from ended)::float8 as ended
    from written order by began`
  expect(refused).toBeGreaterThan(0)
  expect(new Set(writes.map(({ holder }) => holder)).size).toBeGreaterThan(1)
  for (const [n, write] of writes.entries()) {
    const before = writes[n - 1]
    if (before === undefined || before.epoch === write.epoch) continue
    expect(write.epoch).toBeGreaterThan(before.epoch)
    expect(write.began).toBeGreaterThanOrEqual(before.ended)
  }
  const holders = new Map(writes.map(({ epoch, holder }) => [epoch, holder]))
  expect(writes.every(({ epoch, holder }) => holders.get(epoch) === holder)).toBe(true)
}, 60_000)
