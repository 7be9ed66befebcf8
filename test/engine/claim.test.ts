// Who gets a job, and when: every committed job once, in order, whatever other transactions are doing.

import { describe, expect, it } from 'vitest'
import { claim, claimAll, enqueue, only, useEngine } from '../support/engine-database.ts'

const database = useEngine()
const ids = (jobs: readonly { id: string }[]) => jobs.map(({ id }) => id)

describe('a job', () => {
  it('is claimed once it is committed, once', async () => {
    const [id] = await enqueue(database.sql)
    expect(ids(await claimAll(database))).toEqual([id])
    expect(await claimAll(database)).toEqual([])
  })

  it('leaves nothing when its transaction rolls back', async () => {
    const caller = await database.connect()
    await caller`begin`
    const [{ id }] = (await caller`select millrace.enqueue('resize', queue => 'never seen') as id`) as [{ id: string }]
    await caller`rollback`

    expect(await database.engine.job(id)).toBeUndefined()
    expect(await claimAll(database)).toEqual([])
    expect(await database.sql`select from millrace.lane`).toHaveLength(0)
  })

  it('leaves nothing when its savepoint is rolled back, and others of the transaction stay', async () => {
    const caller = await database.connect()
    await caller`begin`
    await caller`savepoint a`
    await enqueue(caller)
    await caller`savepoint b`
    await enqueue(caller)
    await caller`rollback to b`
    await caller`rollback to a`
    const kept = await enqueue(caller)
    await caller`savepoint c`
    kept.push(...(await enqueue(caller)))
    await caller`release c`
    await caller`commit`

    expect(ids(await claimAll(database))).toEqual(kept)
  })

  it.each(['repeatable read', 'serializable'])('can be enqueued at isolation level %s', async level => {
    const caller = await database.connect()
    await enqueue(database.sql)
    await caller.unsafe(`begin isolation level ${level}`)
    await caller`select count(*) from millrace.lane`
    await enqueue(database.sql, 1, { queue: 'new' })
    const [id] = await enqueue(caller, 1, { queue: 'new' })
    const [later] = await enqueue(database.sql, 1, { queue: 'new' })
    expect(ids(await claimAll(database))).not.toContain(id)
    await caller`commit`

    expect(ids(await claimAll(database))).toEqual([id])
    expect(later).toBeDefined()
  })

  it('of a transaction whose id is older than claimed ones is claimed all the same', async () => {
    const early = await database.connect()
    const late = await database.connect()
    await early`begin`
    const first = await enqueue(early)
    const second = await enqueue(late)
    expect(ids(await claimAll(database))).toEqual(second)
    await early`commit`

    expect(ids(await claimAll(database))).toEqual(first)
  })
})

describe('order', () => {
  it('within a lane is the order of enqueueing, over calls and over batches', async () => {
    const enqueued = [
      ...(await enqueue(database.sql, 7)),
      ...(await enqueue(database.sql, 1)),
      ...(await enqueue(database.sql, 5)),
    ]
    const runtime = await database.engine.runtimeStart('test')
    const claimed: string[] = []
    for (let more = true; more; ) {
      const batch = await claim(database.sql, runtime, 3)
      claimed.push(...batch)
      more = batch.length > 0
    }
    expect(claimed).toEqual(enqueued)
  })

  it('within one call is the order given, however many kinds are declared', async () => {
    await database.sql`
      insert into millrace.kind (name, queue, source)
      select 'kind ' || md5(n::text), 'queue ' || n % 3, 'test' from generate_series(1, 3000) n`
    await database.sql`analyze millrace.kind`
    const names = await database.sql<{ name: string }[]>`select name from millrace.kind order by random() limit 50`
    const jobs = [...names, ...names].map(({ name }) => ({ kind: name }))
    await database.sql`select millrace.enqueue_many(${JSON.stringify(jobs)}::text::jsonb)`
    const rows = await database.sql<{ kind: string }[]>`select kind from millrace.job_log order by id`
    expect(rows.map(({ kind }) => kind)).toEqual(jobs.map(({ kind }) => kind))
  })

  it('puts lanes of the first priority first', async () => {
    const low = await enqueue(database.sql, 2, { priority: 4 })
    const middle = await enqueue(database.sql, 2, { priority: 2, queue: 'other' })
    const high = await enqueue(database.sql, 2, { priority: 1 })
    expect(ids(await claimAll(database, 3))).toEqual([...high, middle[0]])
    expect(ids(await claimAll(database, 3))).toEqual([middle[1], ...low])
  })

  it('does not starve a queue behind another of the same priority', async () => {
    await enqueue(database.sql, 200, { queue: 'busy' })
    await enqueue(database.sql, 1, { queue: 'quiet' })
    const runtime = await database.engine.runtimeStart('test')
    let queues = new Set<string>()
    for (let tries = 0; tries < 60 && !queues.has('quiet'); tries++) {
      queues = new Set((await database.engine.claim(runtime, 1)).map(({ queue }) => queue))
    }
    expect(queues).toContain('quiet')
  })
})

describe('a claim', () => {
  it('takes no more than it asks for, from several lanes together', async () => {
    await enqueue(database.sql, 3, { queue: 'a' })
    await enqueue(database.sql, 3, { queue: 'b' })
    expect(await claimAll(database, 4)).toHaveLength(4)
    expect(await claimAll(database, 4)).toHaveLength(2)
  })

  it('for no jobs takes none', async () => {
    await enqueue(database.sql)
    expect(await claimAll(database, 0)).toEqual([])
    expect(await claimAll(database)).toHaveLength(1)
  })

  it('leaves out the queues it is told to, in every priority', async () => {
    await enqueue(database.sql, 1, { queue: 'crowded', priority: 1 })
    await enqueue(database.sql, 1, { queue: 'crowded', priority: 3 })
    const [id] = await enqueue(database.sql, 1, { queue: 'free' })
    const runtime = await database.engine.runtimeStart('test')
    expect(ids(await database.engine.claim(runtime, 9, ['crowded', 'unknown']))).toEqual([id])
    expect(await database.engine.claim(runtime, 9)).toHaveLength(2)
  })

  it('answers what a dispatch needs', async () => {
    await database.sql`
      select millrace.enqueue('resize', '{"width": 8}', queue => 'images', max_attempts => 3, metadata => '{"a": 1}')`
    const job = only(await claimAll(database))
    expect(job).toMatchObject({ segment: '0', attempt: 1, max_attempts: 3, kind: 'resize', queue: 'images' })
    expect(job).toMatchObject({ args: '{"width": 8}', metadata: '{"a": 1}', progress: null })
  })

  it('that is rolled back has claimed nothing', async () => {
    const dispatcher = await database.connect()
    const enqueued = await enqueue(database.sql, 5)
    const runtime = await database.engine.runtimeStart('test')
    await dispatcher`begin`
    expect(await claim(dispatcher, runtime, 3)).toEqual(enqueued.slice(0, 3))
    expect(await claim(database.sql, runtime, 3)).toEqual([])
    await dispatcher`rollback`

    expect(await claim(database.sql, runtime, 9)).toEqual(enqueued)
  })

  it('that is rolled back to a savepoint has claimed nothing', async () => {
    const dispatcher = await database.connect()
    const enqueued = await enqueue(database.sql, 2)
    const runtime = await database.engine.runtimeStart('test')
    await dispatcher`begin`
    await dispatcher`savepoint a`
    await claim(dispatcher, runtime, 1)
    await dispatcher`rollback to a`
    expect(await claim(database.sql, runtime, 9)).toEqual(enqueued)
    await dispatcher`commit`
  })

  it('in a transaction that goes on to enqueue loses none of its jobs', async () => {
    const caller = await database.connect()
    const runtime = await database.engine.runtimeStart('test')
    await caller`begin`
    const own = await enqueue(caller)
    const others = await enqueue(database.sql)
    const claimed = await claim(caller, runtime, 9)
    own.push(...(await enqueue(caller)))
    await caller`commit`
    claimed.push(...(await claim(database.sql, runtime, 9)))
    expect(claimed.toSorted()).toEqual([...own, ...others].toSorted())
  })

  it('with a snapshot older than the last claim is refused rather than served twice', async () => {
    const dispatcher = await database.connect()
    await enqueue(database.sql, 2)
    const runtime = await database.engine.runtimeStart('test')
    await dispatcher`begin isolation level repeatable read`
    await dispatcher`select count(*) from millrace.lane`
    expect(await claim(database.sql, runtime, 2)).toHaveLength(2)
    await expect(claim(dispatcher, runtime, 2)).rejects.toMatchObject({ code: '23505' })
    await dispatcher`rollback`
  })
})

describe('a transaction that enqueues and stays open', () => {
  it('delays only its own jobs', async () => {
    const slow = await database.connect()
    const runtime = await database.engine.runtimeStart('test')
    await enqueue(database.sql)
    await claim(database.sql, runtime, 1)
    await slow`begin`
    const before = await enqueue(slow, 2)
    for (let round = 0; round < 5; round++) {
      const others = await enqueue(database.sql, 4)
      expect(await claim(database.sql, runtime, 3)).toEqual(others.slice(0, 3))
      expect(await claim(database.sql, runtime, 3)).toEqual(others.slice(3))
    }
    const after = await enqueue(slow, 2)
    const others = await enqueue(database.sql, 1)
    await slow`commit`
    expect(await claim(database.sql, runtime, 9)).toEqual([...before, ...after, ...others])
  })

  it('in a brand-new queue makes nobody wait who enqueues into the same one', async () => {
    const slow = await database.connect()
    const quick = await database.connect()
    await slow`begin`
    const held = await enqueue(slow, 1, { queue: 'brand new' })
    await quick`set lock_timeout = '2s'`
    const free = await enqueue(quick, 1, { queue: 'brand new' })
    expect(ids(await claimAll(database))).toEqual(free)
    await slow`commit`

    expect(ids(await claimAll(database))).toEqual(held)
    expect(new Set((await database.sql`select id from millrace.lane`).map(({ id }) => id)).size).toBe(1)
  })
})

describe('segments', () => {
  const rotate = (number: number) => database.sql`insert into millrace.segment (number) values (${number})`

  it('are emptied oldest first', async () => {
    const old = await enqueue(database.sql, 3)
    await rotate(1)
    const young = await enqueue(database.sql, 3)
    const claimed = await claimAll(database, 4)
    expect(ids(claimed)).toEqual([...old, young[0]])
    expect(claimed.map(({ segment }) => segment)).toEqual(['0', '0', '0', '1'])
    expect(ids(await claimAll(database))).toEqual(young.slice(1))
  })

  it('take what a transaction enqueues that began before the rotation', async () => {
    const older = await database.connect()
    const frozen = await database.connect()
    await older`begin`
    const held = await enqueue(older)
    await frozen`begin isolation level repeatable read`
    await frozen`select count(*) from millrace.segment`
    await rotate(1)
    const young = await enqueue(database.sql, 2)
    expect(ids(await claimAll(database))).toEqual(young)

    held.push(...(await enqueue(older)))
    await older`commit`
    expect(ids(await claimAll(database)).toSorted()).toEqual(held.toSorted())

    const late = await enqueue(frozen, 2)
    await frozen`commit`
    const claimed = await claimAll(database)
    expect(ids(claimed)).toEqual(late)
    expect(new Set(claimed.map(({ segment }) => segment))).toEqual(new Set(['0']))
  })
})
