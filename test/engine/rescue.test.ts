// Attempts that nobody will close: parked ones past their deadline, and those of dispatchers that died.

import { describe, expect, it, vi } from 'vitest'
import type { ClaimedJob } from '../../core/engine-rows.ts'
import {
  claim,
  claimAgain,
  claimAll,
  close,
  completed,
  enqueue,
  failed,
  only,
  ref,
  running,
  useEngine,
  view,
} from '../support/engine-database.ts'

const database = useEngine()
const rescue = (max = 100) => database.engine.rescue(max)
const OVERDUE = -3600

/** Parks an attempt whose callback was due an hour ago. */
async function overdue(job?: ClaimedJob): Promise<ClaimedJob> {
  const parked = job ?? (await running(database))
  await database.engine.park([parked], OVERDUE)
  return parked
}

describe('a parked attempt', () => {
  it('waits for its callback', async () => {
    const job = await running(database)
    await database.engine.park([job], 60)
    expect(await view(database, job.id)).toMatchObject({ state: 'waiting_external', attempt: 1 })
    expect(await rescue()).toEqual({ parked: 0, lost: 0, stuck: 0 })
    expect(await close(database, job, completed)).toEqual({ state: 'completed', fresh: true })
  })

  it('is retried once its deadline is over', async () => {
    const job = await overdue()
    expect(await rescue()).toEqual({ parked: 1, lost: 0, stuck: 0 })
    expect(await rescue()).toEqual({ parked: 0, lost: 0, stuck: 0 })
    const retried = await view(database, job.id)
    expect(retried).toMatchObject({
      state: 'retryable',
      attempt: 2,
      errors: [{ attempt: 1, code: 'callback_timeout' }],
    })
  })

  it('has failed once its deadline is over when no attempts are left', async () => {
    const job = await overdue(await running(database, { max_attempts: 1 }))
    await rescue()
    expect(await view(database, job.id)).toMatchObject({ state: 'failed', errors: [{ code: 'callback_timeout' }] })
  })

  it('whose callback was quicker than the park stays closed', async () => {
    const job = await running(database)
    await close(database, job, completed)
    await overdue(job)
    expect(await rescue()).toEqual({ parked: 0, lost: 0, stuck: 0 })
    expect(await view(database, job.id)).toMatchObject({ state: 'completed' })
  })

  it('whose callback comes after the rescue changes nothing and hears that the job goes on', async () => {
    const job = await overdue()
    await rescue()
    expect(await close(database, job, completed)).toEqual({ state: 'retryable', fresh: false })
    expect(await claimAgain(database)).toMatchObject([{ id: job.id, attempt: 2 }])
  })

  it('parked twice is retried once', async () => {
    const job = await overdue(await overdue())
    expect(await rescue()).toEqual({ parked: 1, lost: 0, stuck: 0 })
    expect(await claimAgain(database)).toMatchObject([{ id: job.id, attempt: 2 }])
  })

  it('can be of any segment', async () => {
    const old = await running(database)
    await database.sql`insert into millrace.segment (number) values (1)`
    const young = await running(database)
    await database.engine.park([old, young], OVERDUE)
    expect(await rescue()).toEqual({ parked: 2, lost: 0, stuck: 0 })
  })
})

describe('the sweep of deadlines', () => {
  /** As if the sweep's last mark had been made long ago. */
  const age = () => database.sql`update millrace.sweep set mark_at = now() - interval '10 minutes'`
  const sweepTwice = async () => {
    for (let n = 0; n < 2; n++) {
      await age()
      await rescue()
    }
  }

  it('comes forward, so that it need not read its past again', async () => {
    await database.engine.park([await running(database)], OVERDUE)
    // Transactions of other databases hold it up too, but they all end.
    await vi.waitFor(async () => {
      await rescue()
      await age()
      const [row] = await database.sql`select from millrace.sweep where done_to > now() - interval '11 minutes'`
      expect(row).toBeDefined()
    }, 10_000)
  })

  it('waits for a transaction that parked before it and commits after it', async () => {
    const dispatcher = await database.connect()
    const job = await running(database)
    await dispatcher`begin`
    await dispatcher`select millrace.park(array[0], array[${job.id}]::bigint[], array[1], ${OVERDUE})`
    await rescue()
    await sweepTwice()
    await dispatcher`commit`
    expect(await rescue()).toEqual({ parked: 1, lost: 0, stuck: 0 })
  })

  it('takes the deadline from when the attempt is parked, not from when the transaction began', async () => {
    const dispatcher = await database.connect()
    const job = await running(database)
    await dispatcher`begin`
    const [before] = await dispatcher<{ at: Date }[]>`select clock_timestamp() as at`
    await dispatcher`select millrace.park(array[0], array[${job.id}]::bigint[], array[1], 0)`
    await dispatcher`commit`
    const [parked] = await database.sql<{ deadline: Date }[]>`select deadline from millrace.park_log`
    expect(Number(parked?.deadline)).toBeGreaterThanOrEqual(Number(before?.at))
  })

  it('leaves nothing behind when it reaches its limit, also of one batch with one deadline', async () => {
    await enqueue(database.sql, 25)
    await database.engine.park(await claimAll(database), OVERDUE)
    const rescued: number[] = []
    for (let n = 0; n < 4; n++) {
      rescued.push((await rescue(10)).parked)
      await age()
    }
    expect(rescued).toEqual([10, 10, 5, 0])
  })

  it('comes back to an attempt whose heartbeats put its deadline off', async () => {
    const job = await overdue()
    await database.engine.heartbeat([{ ...ref(job), timeoutSeconds: 3600 }])
    expect(await rescue()).toEqual({ parked: 0, lost: 0, stuck: 0 })
    await sweepTwice()
    await database.sql`update millrace.attempt_state set deadline = now()`
    expect(await rescue()).toEqual({ parked: 1, lost: 0, stuck: 0 })
  })

  it('comes back to what a rescue that rolled back has seen', async () => {
    const other = await database.connect()
    await overdue()
    await other`begin`
    await other`select millrace.rescue(10)`
    await other`rollback`
    expect(await rescue()).toEqual({ parked: 1, lost: 0, stuck: 0 })
  })

  it('may be made by two at once: each attempt is retried once', async () => {
    await enqueue(database.sql, 40)
    await database.engine.park(await claimAll(database), OVERDUE)
    const counts = await Promise.all([rescue(), rescue(), rescue()])
    expect(counts.reduce((sum, { parked }) => sum + parked, 0)).toBe(40)
    expect(await claimAgain(database)).toHaveLength(40)
  })

  it('is not stopped by entries about jobs that do not exist', async () => {
    const ghosts = Array.from({ length: 200 }, (_, n) => ({ segment: '0', id: String(900_000_000 + n), attempt: 1 }))
    await database.engine.park(ghosts, OVERDUE)
    await overdue()
    let parked = 0
    for (let n = 0; n < 5; n++) parked += (await rescue(10)).parked
    expect(parked).toBe(1)
  })

  it('clears what a heartbeat left that crossed the end of its attempt', async () => {
    const job = await running(database)
    await close(database, job, completed)
    await database.sql`
      insert into millrace.attempt_state (id, attempt, segment, deadline) values (${job.id}, 1, 0, now())`
    expect(await rescue()).toEqual({ parked: 0, lost: 0, stuck: 0 })
    expect(await database.sql`select from millrace.attempt_state`).toHaveLength(0)
  })
})

describe('a dispatcher that died', () => {
  const silence = (seconds: number) =>
    database.sql`update millrace.runtime set lost_at = seen_at - make_interval(secs => ${seconds}) + interval '45 seconds'`

  it('is one that said nothing for 45 seconds', async () => {
    await running(database)
    await silence(44)
    expect(await rescue()).toEqual({ parked: 0, lost: 0, stuck: 0 })
    await silence(46)
    expect(await rescue()).toEqual({ parked: 0, lost: 1, stuck: 0 })
  })

  it('has its open attempts retried, and only those', async () => {
    const [open, closed] = [await running(database), await running(database)]
    const [parked, beating] = [await running(database), await running(database)]
    await close(database, closed, completed)
    await database.engine.park([parked], 3600)
    await database.engine.heartbeat([{ ...ref(beating), timeoutSeconds: 3600 }])
    await silence(60)
    expect(await rescue()).toEqual({ parked: 0, lost: 1, stuck: 0 })
    expect(await view(database, open.id)).toMatchObject({ state: 'retryable', errors: [{ code: 'dispatcher_lost' }] })
    expect(await view(database, parked.id)).toMatchObject({ state: 'waiting_external' })
    expect(await view(database, beating.id)).toMatchObject({ state: 'running' })
    expect(await rescue()).toEqual({ parked: 0, lost: 0, stuck: 0 })
  })

  it('is forgotten only when all of its attempts are retried', async () => {
    const runtime = await database.engine.runtimeStart('dead')
    await enqueue(database.sql, 25)
    await database.engine.claim(runtime, 25)
    await silence(60)
    const lost: number[] = []
    for (let n = 0; n < 4; n++) lost.push((await rescue(10)).lost)
    expect(lost).toEqual([10, 10, 5, 0])
    expect(await database.engine.runtimeBeat(runtime)).toBeUndefined()
  })

  it('counts as an attempt', async () => {
    const job = await running(database, { max_attempts: 1 })
    await silence(60)
    await rescue()
    expect(await view(database, job.id)).toMatchObject({ state: 'failed', errors: [{ code: 'dispatcher_lost' }] })
  })

  it('may be one of several: the limit is for all of them', async () => {
    for (let n = 0; n < 3; n++) {
      await enqueue(database.sql, 5)
      await claimAll(database)
    }
    await silence(60)
    expect(await rescue(8)).toEqual({ parked: 0, lost: 8, stuck: 0 })
    expect(await rescue(8)).toEqual({ parked: 0, lost: 7, stuck: 0 })
    expect(await database.sql`select from millrace.runtime`).toHaveLength(0)
  })

  it('that comes back after that cannot claim', async () => {
    const runtime = await database.engine.runtimeStart('back')
    await silence(60)
    await rescue()
    const enqueued = await enqueue(database.sql, 1)
    await expect(database.engine.claim(runtime, 1)).rejects.toThrow('given up')
    expect((await claimAll(database)).map(({ id }) => id)).toEqual(enqueued)
  })

  it('in the middle of a claim is given up only after the claim, with its jobs', async () => {
    const dispatcher = await database.connect()
    const runtime = await database.engine.runtimeStart('slow')
    await enqueue(database.sql)
    await silence(60)
    await dispatcher`begin`
    expect(await claim(dispatcher, runtime, 1)).toHaveLength(1)
    expect(await rescue()).toEqual({ parked: 0, lost: 0, stuck: 0 })
    await dispatcher`commit`
    expect(await rescue()).toEqual({ parked: 0, lost: 1, stuck: 0 })
  })

  it('does not matter to a callback that comes first', async () => {
    const job = await running(database)
    await silence(60)
    expect(await close(database, job, failed())).toEqual({ state: 'retryable', fresh: true })
    expect(await rescue()).toEqual({ parked: 0, lost: 0, stuck: 0 })
    expect(only(await claimAgain(database))).toMatchObject({ attempt: 2 })
  })
})
