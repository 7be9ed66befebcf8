// Transactions with a snapshot from before a rotation and a prune, which write after it.

import postgres from 'postgres'
import { expect, it, onTestFinished } from 'vitest'
import { settled } from '../support/settled.ts'
import { useArena } from './race.ts'
import { HELD } from './world.ts'

const arena = useArena(0)

const ENQUEUE = `select id from millrace.enqueue_jobs('[{"kind": "resize"}]')`

/** A session that has taken its snapshot, and does what it does later. */
async function oldSession(): Promise<postgres.Sql> {
  const client = postgres(new URL(arena.url).href, { max: 1, fetch_types: false, onnotice: () => undefined })
  onTestFinished(() => client.end({ timeout: 1 }))
  await client.unsafe('begin isolation level repeatable read; select count(*) from millrace.segment')
  return client
}

/** Claims and completes everything in the newest segment, and has it sealed and emptied. */
async function passOn(): Promise<void> {
  const { referee, world } = arena
  await referee.unsafe(ENQUEUE)
  await referee.unsafe('select millrace.rotate()')
  await referee.unsafe(`select millrace.claim(${world.drainer}, 1000)`)
  await settled(referee)
  await referee.unsafe('select millrace.survey()')
  while ((await referee.unsafe('select millrace.prune() as pruned'))[0]?.pruned);
}

const chores = async (): Promise<unknown> =>
  (await arena.referee.unsafe('select millrace.chores(millrace.unclaimed()) as due'))[0]?.due

it('find their job run, though its slot was emptied', async () => {
  await arena.restore()
  const late = await oldSession()
  await passOn()
  const [job] = await late.unsafe(ENQUEUE)
  await late.unsafe('commit')
  expect(await chores(), 'what the leader is told to do').toContain('prune')
  expect(await arena.judge()).toEqual([])
  expect(await arena.referee.unsafe(`select millrace.job_state(${job?.id}) as state`)).toEqual([{ state: 'completed' }])
})

it('find their job run, though its slot has a later segment', async () => {
  await arena.restore()
  const late = await oldSession()
  for (let turn = 0; turn < 8; turn += 1) await passOn()
  const [job] = await late.unsafe(ENQUEUE)
  await late.unsafe('commit')
  expect(await arena.judge()).toEqual([])
  expect(await arena.referee.unsafe(`select millrace.job_state(${job?.id}) as state`)).toEqual([{ state: 'completed' }])
})

it('can be cancelled by others before it is carried to a segment', async () => {
  await arena.restore()
  const late = await oldSession()
  await passOn()
  const [job] = await late.unsafe(ENQUEUE)
  await late.unsafe('commit')
  expect(await arena.referee.unsafe(`select state, cancelled from millrace.cancel(array[${job?.id}])`)).toEqual([
    { state: 'cancelled', cancelled: true },
  ])
  expect(await arena.judge({ cancelled: [job?.id] })).toEqual([])
})

it.each([0, 1, 8])('do not cancel what they cannot know of, after %s rotations', async rotations => {
  await arena.restore()
  const late = await oldSession()
  for (let turn = 0; turn < rotations; turn += 1) await passOn()
  const cancelled: string[] = []
  try {
    const [job] = await late.unsafe(ENQUEUE)
    const [answer] = await late.unsafe(`select * from millrace.cancel(array[${job?.id}])`)
    expect(answer).toMatchObject({ state: 'cancelled', cancelled: true })
    await late.unsafe('commit')
    cancelled.push(job?.id)
  } catch (error) {
    expect((error as postgres.PostgresError).code).toBe('40001')
    expect(rotations).toBeGreaterThan(0)
    await late.unsafe('rollback')
  }
  expect(await arena.judge({ cancelled })).toEqual([])
})

it('do not take over the key of a job that was carried meanwhile', async () => {
  await arena.restore()
  const late = await oldSession()
  await passOn()
  await expect(
    late.unsafe(`select * from millrace.enqueue_jobs('[{"kind": "resize", "unique_key": "${HELD}"}]')`),
  ).rejects.toMatchObject({ code: '40001' })
  await late.unsafe('rollback')
  expect(await arena.judge()).toEqual([])
})

it('do not take over the key of a job that was retried meanwhile', async () => {
  await arena.restore()
  const { referee, world } = arena
  const { segment, id, attempt } = world.open.u0
  await referee.unsafe(
    `select * from millrace.close(array[${segment}], array[${id}], array[${attempt}], array['fail'])`,
  )
  const late = await oldSession()
  await referee.unsafe(`select * from millrace.retry(array[${id}])`)
  await expect(
    late.unsafe(`select * from millrace.enqueue_jobs('[{"kind": "resize", "unique_key": "${HELD}"}]')`),
  ).rejects.toMatchObject({ code: '40001' })
  await late.unsafe('rollback')
  expect(await arena.judge({ revived: [id] })).toEqual([])
})
