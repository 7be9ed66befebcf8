// Claims against a model: any order of begins, enqueues, savepoints, rollbacks and commits, with claims in between.

import fc from 'fast-check'
import type postgres from 'postgres'
import { expect, it } from 'vitest'
import { claim, type EngineDatabase, enqueue, useEngine } from '../support/engine-database.ts'

const database = useEngine()

const CALLERS = 4
const QUEUES = 2

/** What one connection has done in its open transaction: the jobs of each nesting level, and the number it began with. */
interface Caller {
  readonly client: postgres.Sql
  readonly levels: string[][]
}

class Model {
  readonly callers: readonly Caller[]
  readonly dispatchers: readonly postgres.Sql[]
  readonly runtime: string
  readonly committed = new Set<string>()
  readonly claimed: string[] = []
  readonly origin = new Map<string, string>()
  segment = 0

  constructor(clients: readonly postgres.Sql[], runtime: string) {
    this.callers = clients.slice(0, CALLERS).map(client => ({ client, levels: [] }))
    this.dispatchers = clients.slice(CALLERS)
    this.runtime = runtime
  }
}

const IDLE = (model: Readonly<Model>, n: number) => model.callers[n]?.levels.length === 0

abstract class Step implements fc.AsyncCommand<Model, EngineDatabase> {
  readonly n: number
  constructor(n: number) {
    this.n = n
  }
  abstract check(model: Readonly<Model>): boolean
  abstract run(model: Model, real: EngineDatabase): Promise<void>
  caller(model: Model): Caller {
    return model.callers[this.n] as Caller
  }
  toString(): string {
    return `${this.constructor.name}(${this.n})`
  }
}

class Begin extends Step {
  check = (model: Readonly<Model>) => IDLE(model, this.n)
  async run(model: Model) {
    const { client, levels } = this.caller(model)
    await client.unsafe(this.n === 0 ? 'begin isolation level repeatable read' : 'begin')
    levels.push([])
  }
}

class Enqueue extends Step {
  readonly count: number
  readonly queue: number
  constructor(n: number, count: number, queue: number) {
    super(n)
    this.count = count
    this.queue = queue
  }
  check = () => true
  async run(model: Model) {
    const { client, levels } = this.caller(model)
    const ids = await enqueue(client, this.count, { queue: `queue ${this.queue}` })
    for (const id of ids) model.origin.set(id, `caller ${this.n}, queue ${this.queue}, segment ${model.segment}`)
    if (levels.length === 0) for (const id of ids) model.committed.add(id)
    else levels.at(-1)?.push(...ids)
  }
}

class Savepoint extends Step {
  check = (model: Readonly<Model>) => !IDLE(model, this.n)
  async run(model: Model) {
    const { client, levels } = this.caller(model)
    await client.unsafe(`savepoint s${levels.length}`)
    levels.push([])
  }
}

class RollbackTo extends Step {
  check = (model: Readonly<Model>) => (model.callers[this.n]?.levels.length ?? 0) > 1
  async run(model: Model) {
    const { client, levels } = this.caller(model)
    levels.pop()
    await client.unsafe(`rollback to s${levels.length}`)
  }
}

class Release extends Step {
  check = (model: Readonly<Model>) => (model.callers[this.n]?.levels.length ?? 0) > 1
  async run(model: Model) {
    const { client, levels } = this.caller(model)
    const inner = levels.pop() ?? []
    levels.at(-1)?.push(...inner)
    await client.unsafe(`release s${levels.length}`)
  }
}

class Commit extends Step {
  check = (model: Readonly<Model>) => !IDLE(model, this.n)
  async run(model: Model) {
    const { client, levels } = this.caller(model)
    await client`commit`
    for (const id of levels.splice(0).flat()) model.committed.add(id)
  }
}

class Rollback extends Step {
  check = (model: Readonly<Model>) => !IDLE(model, this.n)
  async run(model: Model) {
    const { client, levels } = this.caller(model)
    await client`rollback`
    levels.splice(0)
  }
}

class Claim extends Step {
  readonly max: number
  readonly commits: boolean
  constructor(n: number, max: number, commits: boolean) {
    super(n)
    this.max = max
    this.commits = commits
  }
  check = () => true
  async run(model: Model) {
    const client = model.dispatchers[this.n % model.dispatchers.length] as postgres.Sql
    if (!this.commits) await client`begin`
    const ids = await claim(client, model.runtime, this.max)
    for (const id of ids) {
      expect(model.committed, 'only committed jobs are claimed').toContain(id)
      expect(model.claimed, 'no job is claimed twice').not.toContain(id)
    }
    // Nothing that is committed is held back by what is not.
    const open = model.committed.size - model.claimed.length
    // (A batch may be short at the end of a lane's window, but never empty.)
    expect(ids.length).toBeLessThanOrEqual(Math.min(this.max, open))
    if (open > 0) expect(ids).not.toHaveLength(0)
    if (this.commits) model.claimed.push(...ids)
    else await client`rollback`
  }
}

class Rotate extends Step {
  check = (model: Readonly<Model>) => model.segment < 3
  async run(model: Model, real: EngineDatabase) {
    model.segment++
    await real.sql`insert into millrace.segment (number) values (${model.segment})`
  }
}

const caller = fc.nat(CALLERS - 1)
const steps = fc.commands(
  [
    caller.map(n => new Begin(n)),
    fc.tuple(caller, fc.integer({ min: 1, max: 5 }), fc.nat(QUEUES - 1)).map(args => new Enqueue(...args)),
    fc.tuple(caller, fc.integer({ min: 1, max: 5 }), fc.nat(QUEUES - 1)).map(args => new Enqueue(...args)),
    caller.map(n => new Savepoint(n)),
    caller.map(n => new RollbackTo(n)),
    caller.map(n => new Release(n)),
    caller.map(n => new Commit(n)),
    caller.map(n => new Rollback(n)),
    fc.tuple(caller, fc.integer({ min: 1, max: 6 }), fc.boolean()).map(args => new Claim(...args)),
    fc.tuple(caller, fc.integer({ min: 1, max: 6 }), fc.boolean()).map(args => new Claim(...args)),
    fc.constant(new Rotate(0)),
  ],
  { size: 'max', maxCommands: 60 },
)

/** Of jobs that one connection enqueued into one lane of one segment, the order of claiming is that of enqueueing. */
function expectFifo({ claimed, origin }: Model): void {
  const byOrigin = Map.groupBy(claimed, id => origin.get(id))
  for (const [name, ids] of byOrigin) {
    expect(ids, name).toEqual(ids.toSorted((a, b) => Number(a) - Number(b)))
  }
}

it('claims what is committed, all of it, once, and in order', async () => {
  const clients = await database.connections(CALLERS + 2)
  await fc.assert(
    fc.asyncProperty(steps, async commands => {
      await Promise.all(clients.map(client => client`rollback`))
      await database.empty()
      const runtime = await database.engine.runtimeStart('test')
      let model = new Model(clients, runtime)
      await fc.asyncModelRun(() => {
        model = new Model(clients, runtime)
        return { model, real: database }
      }, commands)
      for (const [n, { levels }] of model.callers.entries()) if (levels.length > 0) await new Commit(n).run(model)
      while (model.claimed.length < model.committed.size) await new Claim(0, 10_000, true).run(model)
      expect(new Set(model.claimed)).toEqual(model.committed)
      expectFifo(model)
    }),
    { numRuns: 60 },
  )
})
