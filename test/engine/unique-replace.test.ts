// Debounce: a job that has not begun gets the arguments, options and time of the next one with its key.

import { describe, expect, it } from 'vitest'
import {
  claimAgain,
  claimAll,
  close,
  completed,
  failed,
  only,
  ref,
  useEngine,
  view,
} from '../support/engine-database.ts'
import { enqueueJobs, type Keyed, pidOf, type Told, waiting } from '../support/unique.ts'

const database = useEngine()

const debounced = async (n: number, more: Keyed = {}, sql = database.sql): Promise<Told> =>
  only(await enqueueJobs(sql, { unique_key: 'k', on_conflict: 'replace', args: { n }, ...more }))
const told = (id: string): Told => ({ id, existing: true, replaced: true })
const argsOf = (jobs: readonly { args: string }[]) => jobs.map(({ args }) => JSON.parse(args).n)

describe('a job that', () => {
  it('is scheduled gets what the last call says, and no other job is there', async () => {
    const { id } = await debounced(1, { delay_seconds: 60, max_attempts: 3 })
    expect(await debounced(2, { delay_seconds: 600, priority: 1, queue: 'other', max_attempts: 7 })).toEqual(told(id))
    const job = await view(database, id)
    expect(job).toMatchObject({ args: { n: 2 }, priority: 1, queue: 'other', state: 'scheduled', attempt: 1 })
    expect(job.max_attempts).toBe(7)
    expect(Date.parse(job.run_at) - Date.now()).toBeGreaterThan(590_000)
    expect(argsOf(await claimAgain(database))).toEqual([2])
  })

  it('is scheduled may be due at once then', async () => {
    const { id } = await debounced(1, { delay_seconds: 60 })
    await debounced(2)
    expect(await claimAll(database)).toMatchObject([{ id, attempt: 1 }])
  })

  it.each([{}, { delay_seconds: 60 }])('is available, too: %j', async when => {
    const { id } = await debounced(1)
    expect(await debounced(2, when)).toEqual(told(id))
    expect(await debounced(3, when)).toEqual(told(id))
    const jobs = [...(await claimAll(database)), ...(await claimAgain(database))]
    expect(argsOf(jobs)).toEqual([3])
    const { id: same, attempt, max_attempts } = only(jobs)
    expect(same).toBe(id)
    expect(max_attempts - attempt).toBe(24) // it has all its attempts before it
    await close(database, only(jobs), completed)
    expect(await view(database, id)).toMatchObject({ state: 'completed', args: { n: 3 } })
  })

  it('waits for its retry, too; it keeps its errors, its number of attempts is the new one', async () => {
    const { id } = await debounced(1)
    await close(database, only(await claimAll(database)), failed('broken', 60_000))
    expect(await debounced(2, { max_attempts: 4 })).toEqual(told(id))
    expect(only(await claimAll(database))).toMatchObject({ id, attempt: 2, max_attempts: 5 })
    expect((await view(database, id)).errors).toMatchObject([{ attempt: 1, message: 'broken' }])
  })

  it.each([false, true])(
    'has begun (accepted: %s) does not hold the key: the next one is a job of its own',
    async accepted => {
      const { id } = await debounced(1)
      const attempts = await claimAll(database)
      if (accepted) await database.engine.park(attempts.map(ref), 60)
      const next = await debounced(2)
      expect(next).toMatchObject({ existing: false, replaced: false })
      expect(next.id).not.toBe(id)
      expect(argsOf(await claimAll(database))).toEqual([2])
      expect((await database.engine.close([{ ...ref(only(attempts)), outcome: completed }]))[0]?.fresh).toBe(true)
    },
  )

  it('has begun and holds its key, as asked, stays as it is', async () => {
    const states = { unique_states: ['available', 'running'] }
    const { id } = await debounced(1, states)
    await claimAll(database)
    expect(await debounced(2, states)).toEqual({ id, existing: true, replaced: false })
    expect((await view(database, id)).args).toEqual({ n: 1 })
  })
})

it('of several in one call the last one counts', async () => {
  const { id } = await debounced(1, { delay_seconds: 60 })
  const call = [2, 3, 4].map(n => ({ unique_key: 'k', on_conflict: 'replace', args: { n } }))
  const answers = await enqueueJobs(database.sql, ...call, { args: { n: 9 } })
  expect(answers.slice(0, 3)).toEqual([told(id), told(id), told(id)])
  const fresh = await enqueueJobs(database.sql, ...call.map(job => ({ ...job, unique_key: 'new' })))
  expect(fresh.map(({ existing }) => existing)).toEqual([false, true, true])
  expect(argsOf(await claimAll(database))).toEqual([4, 9, 4])
})

it('a replacement that rolls back leaves the job as it was', async () => {
  const { id } = await debounced(1)
  const client = await database.connect()
  await client`begin`
  await debounced(2, { delay_seconds: 60 }, client)
  await client`rollback`
  expect(await claimAll(database)).toMatchObject([{ id, attempt: 1 }])
})

it('a claim before the replacement commits runs the old arguments as well; its result is refused', async () => {
  const { id } = await debounced(1)
  const client = await database.connect()
  await client`begin`
  await debounced(2, {}, client)
  const early = only(await claimAll(database))
  expect(argsOf([early])).toEqual([1])
  await client`commit`
  expect(await close(database, early, completed)).toMatchObject({ fresh: false })
  const late = only(await claimAll(database))
  expect(argsOf([late])).toEqual([2])
  expect(await close(database, late, completed)).toMatchObject({ fresh: true })
  expect(await view(database, id)).toMatchObject({ state: 'completed', args: { n: 2 } })
})

it('a promotion under way is waited for, and then the job in the log is replaced', async () => {
  const { id } = await debounced(1, { delay_seconds: 60 })
  await database.sql`update millrace.deferred set run_at = now()`
  const promoter = await database.connect()
  await promoter`begin`
  await promoter`select millrace.promote(10)`
  const client = await database.connect()
  const pid = await pidOf(client)
  const answer = debounced(2, {}, client)
  await waiting(database, pid)
  await promoter`commit`
  expect(await answer).toEqual(told(id))
  expect(argsOf(await claimAll(database))).toEqual([2])
})

it('many replacements against claims, closes and promotions: the last arguments run, no attempt ends twice', async () => {
  const CALLERS = 6
  const CALLS = 25
  const clients = await database.connections(CALLERS)
  const runtime = await database.engine.runtimeStart('test')
  const ran: number[] = []
  let calling = CALLERS
  const answers: Told[] = []
  const work = async () => {
    await database.engine.promote(100)
    const attempts = await database.engine.claim(runtime, 10)
    const closed = await database.engine.close(attempts.map(job => ({ ...ref(job), outcome: completed })))
    ran.push(...argsOf(attempts.filter((_, n) => closed[n]?.fresh)))
    return attempts.length
  }
  const caller = async (client: (typeof clients)[number], nth: number) => {
    for (let n = 0; n < CALLS; n++) {
      const delay_seconds = n % 3 === 0 ? 0.01 : undefined
      answers.push(await debounced(nth * CALLS + n, delay_seconds ? { delay_seconds } : {}, client))
    }
    calling--
  }
  const worker = async () => {
    while (calling > 0) await work()
  }
  await Promise.all([...clients.map(caller), worker(), worker()])
  const last = await debounced(1_000)
  for (let more = 1; more > 0; ) {
    await database.sql`update millrace.deferred set run_at = now()`
    more = await work()
  }

  expect(ran.at(-1)).toBe(1_000)
  expect(ran.filter((n, at) => ran.indexOf(n) !== at)).toEqual([]) // a call's arguments run once at most
  const jobs = await database.sql<{ id: string; state: string }[]>`
    select distinct id, millrace.job_state(id) as state from millrace.job_log`
  expect(jobs.map(({ state }) => state)).toEqual(jobs.map(() => 'completed'))
  expect(ran).toHaveLength(jobs.length) // one outcome each
  expect([...answers, last].filter(({ existing }) => !existing)).toHaveLength(jobs.length)
})
