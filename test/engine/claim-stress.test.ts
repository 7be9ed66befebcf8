// Claims under load: producers that roll back, nest savepoints and stay open; claimers that take turns and roll back.

import type postgres from 'postgres'
import { expect, it } from 'vitest'
import { claim, enqueue, useEngine } from '../support/engine-database.ts'

const database = useEngine()

const PRODUCERS = 24
const CLAIMERS = 5
const PRODUCE_MS = 3_500
/** Longest that a transaction is held open on purpose. */
const HELD_MS = 1_200

const below = (n: number) => Math.floor(Math.random() * n)
const oneIn = (n: number) => below(n) === 0
const without = (all: readonly string[], some: readonly string[]): string[] => {
  const taken = new Set(some)
  return all.filter(id => !taken.has(id))
}
const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))
const lane = () => ({ queue: `queue ${below(3)}`, priority: 1 + below(2) })

/** Enqueues, perhaps in a savepoint that is rolled back; answers what stays if the transaction commits. */
async function step(client: postgres.Sql, depth = 0): Promise<string[]> {
  if (depth < 3 && oneIn(3)) {
    await client.unsafe(`savepoint s${depth}`)
    const inner = [...(await step(client, depth + 1)), ...(await step(client, depth + 1))]
    const keep = !oneIn(3)
    await client.unsafe(`${keep ? 'release' : 'rollback to'} s${depth}`)
    return keep ? inner : []
  }
  return enqueue(client, oneIn(5) ? 1 + below(30) : 1, lane())
}

async function transaction(client: postgres.Sql): Promise<string[]> {
  await client.unsafe(`begin isolation level ${oneIn(6) ? 'repeatable read' : 'read committed'}`)
  const ids: string[] = []
  for (let left = 1 + below(4); left > 0; left--) {
    ids.push(...(await step(client)))
    const dice = below(100)
    await pause(dice < 3 ? below(HELD_MS) : dice < 20 ? below(40) : 0)
  }
  const keep = !oneIn(8)
  await client.unsafe(keep ? 'commit' : 'rollback')
  return keep ? ids : []
}

/** Claims in a transaction of its own, which may roll back: then the jobs are not its own. */
async function turn(client: postgres.Sql, runtime: string): Promise<string[]> {
  const rollsBack = oneIn(6)
  if (rollsBack) await client`begin`
  const ids = await claim(client, runtime, 1 + below(40))
  if (!rollsBack) return ids
  await pause(below(20))
  await client`rollback`
  return []
}

it('loses none of the committed jobs and hands out none twice', async () => {
  const clients = await database.connections(PRODUCERS + CLAIMERS)
  const runtime = await database.engine.runtimeStart('test')
  const committed: string[] = []
  const claimed: string[] = []
  const ends = performance.now() + PRODUCE_MS
  let producing = PRODUCERS

  const produce = async (client: postgres.Sql) => {
    while (performance.now() < ends) committed.push(...(await transaction(client)))
    producing--
  }
  const consume = async (client: postgres.Sql) => {
    while (producing > 0) {
      const ids = await turn(client, runtime)
      claimed.push(...ids)
      await pause(ids.length === 0 ? 3 : below(3))
    }
  }
  await Promise.all([
    ...clients.slice(0, PRODUCERS).map(produce),
    ...clients.slice(PRODUCERS).map(consume),
    pause(PRODUCE_MS / 3).then(() => database.sql`insert into millrace.segment (number) values (1)`),
    pause((2 * PRODUCE_MS) / 3).then(() => database.sql`insert into millrace.segment (number) values (2)`),
  ])
  // Nobody else claims now, so an empty answer means that nothing is left.
  for (let more = true; more; ) {
    const ids = await claim(database.sql, runtime, 500)
    claimed.push(...ids)
    more = ids.length > 0
  }

  expect(claimed.length - new Set(claimed).size, 'doubled').toBe(0)
  expect(without(committed, claimed), 'lost').toEqual([])
  expect(without(claimed, committed), 'claimed but not committed').toEqual([])
  expect(committed.length).toBeGreaterThan(500)
})
