// Keys are rotated under load: two deploys, process by process in any order, and not one call is refused.

import { activateKey, addKey, generateKeyring, parseKeyring } from 'millrace/protocol'
import { expect, test } from 'vitest'
import { startFleet } from '../support/fleet.ts'

const shuffled = <T>(items: readonly T[]): T[] =>
  items
    .map(item => ({ item, key: Math.random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item)

test('through both deploys of a rotation nothing is refused, and the key that was taken out opens nothing', async () => {
  const before = generateKeyring('old')
  const first = addKey(before, 'new')
  const second = activateKey(first)
  const fleet = await startFleet(before)
  const { database, started, ended, answers } = fleet
  const ids: string[] = []

  const enqueue = async (args: object, count: number) => {
    const rows = await database.sql`select millrace.enqueue('work', ${JSON.stringify(args)}::text::jsonb) as id
      from generate_series(1, ${count})`
    ids.push(...rows.map(({ id }) => String(id)))
    return rows.map(({ id }) => Number(id))
  }
  let held = 0
  const hold = async (until: string, count: number) => {
    const jobs = await enqueue({ until }, count)
    held += count
    await started.until(({ until }) => until !== undefined, held)
    return jobs
  }
  /** Work goes through all that is there, and what is replaced meanwhile. */
  const deploy = async (keyring: typeof first) => {
    for (const roll of shuffled(fleet.rolls)) {
      const quick = await enqueue({}, 20)
      await roll(keyring)
      const last = await enqueue({}, 5)
      await ended.until(
        ({ id, conclusion }) => id >= (quick[0] ?? 0) && conclusion === 'recorded',
        quick.length + last.length,
      )
    }
  }

  await hold('the first deploy', 80)
  await hold('the second deploy', 80)
  await deploy(first)
  fleet.release('the first deploy')
  await ended.until({ conclusion: 'recorded' }, ids.length - 80)
  await hold('the second deploy', 80)
  const [late = 0] = await hold('the old key is gone', 1)
  await deploy(second)
  fleet.release('the second deploy')
  await ended.until({ conclusion: 'recorded' }, ids.length - 1)
  // A heartbeat that is overtaken by its attempt's end is answered 409, which has nothing to do with keys.
  expect(answers.of(({ status }) => status >= 400 && status !== 409)).toEqual([])
  const { c: completed, ...others } = await database.outcomes()
  expect({ completed, others }).toEqual({ completed: ids.length - 1, others: {} })

  const third = parseKeyring(`new:${Buffer.from(second.keys[0].secret).toString('hex')}`)
  await Promise.all(fleet.rolls.map(roll => roll(third)))
  fleet.release('the old key is gone')
  expect(await ended.first({ id: late })).toMatchObject({ conclusion: 'undelivered' })
  expect(await database.job(String(late))).toMatchObject({ state: 'waiting_external' })
  expect(
    new Set(answers.of(({ status }) => status >= 400 && status !== 409).map(({ door, status }) => `${door} ${status}`)),
  ).toEqual(new Set(['callback 401']))
}, 60_000)
