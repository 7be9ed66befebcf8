// One fuzz run: rounds of requests by ever more trusted senders, each with its checks of the answers and of the database.

import fc from 'fast-check'
import type { TestDatabase } from 'millrace/testing'
import { enqueuers, keyless, operators, readers, tenants } from './api-plan.ts'
import { faultOf, type Rights, type Sender } from './checks.ts'
import { changed, type Digest } from './digest.ts'
import { type Plan, signed, strangers } from './ingress-plan.ts'
import { describeShot, send } from './shot.ts'
import { makeWorld, type World } from './world.ts'

export interface FuzzOptions {
  readonly requests: number
  readonly seed: number
  readonly path?: string | undefined
  readonly progress: (line: string) => void
  createDatabase(): Promise<TestDatabase>
}

export interface FuzzReport {
  readonly requests: number
  readonly seed: number
  readonly seconds: number
  /** By door and status; 0: hung up on. */
  readonly answers: Readonly<Record<string, number>>
  readonly failure?: { readonly what: string; readonly again: string }
}

/** Of one round, in its order. */
const ROUND = {
  strangers: { plan: fc.oneof(strangers, strangers, keyless), count: 300, sender: 'stranger' },
  readers: { plan: readers, count: 80, sender: 'known', rights: { scopes: ['read'] } },
  enqueuers: { plan: enqueuers, count: 40, sender: 'known', rights: { scopes: ['enqueue'] } },
  signed: { plan: signed, count: 120, sender: 'known' },
  tenants: {
    plan: tenants,
    count: 80,
    sender: 'known',
    rights: { scopes: ['enqueue', 'read', 'operate'], isTenant: true },
  },
  operators: { plan: operators, count: 80, sender: 'known' },
} as const satisfies Record<string, { plan: fc.Arbitrary<Plan>; count: number; sender: Sender; rights?: Rights }>

type Phase = keyof typeof ROUND
type Round = Readonly<Record<Phase, readonly Plan[]>>

/** On the average. */
const PER_ROUND = Object.values(ROUND).reduce((sum, { count }) => sum + count / 2, 0)
const ROUNDS_PER_WORLD = 25
const AT_ONCE = 8
const SHRINKING_MS = 60_000

/** What senders with a right signature have no business with. */
const OUT_OF_REACH =
  /^(setting|segment|manifest|kind|queue|schedule|batch|endpoint|endpoint_secret|api_key|audit_log|claim_log|leader|cluster|runtime|follow_up)$/

/** But for these: endpoints of their own, and when their key was used. */
const TENANTS_TOO = /^(endpoint|endpoint_secret|audit_log|api_key)$/

/** Of any length up to that, so that what fails can be shortened. */
const upTo = (count: number, plan: fc.Arbitrary<Plan>): fc.Arbitrary<Plan[]> =>
  fc.noBias(fc.array(plan, { maxLength: count, size: 'max' }))

export async function runFuzz(options: FuzzOptions): Promise<FuzzReport> {
  const began = performance.now()
  const { seed, path } = options
  // More than it takes: it ends with the requests.
  const numRuns = Math.ceil((options.requests / PER_ROUND) * 2)
  const shooter = new Shooter(options)
  let done = 0
  let failedAt = 0
  const round = fc.record(
    Object.fromEntries(Object.entries(ROUND).map(([phase, { plan, count }]) => [phase, upTo(count, plan)])),
  ) as unknown as fc.Arbitrary<Round>
  try {
    const property = fc.asyncProperty(round, async round => {
      const isEnough = failedAt > 0 ? performance.now() - failedAt > SHRINKING_MS : shooter.sent >= options.requests
      if (isEnough) return
      try {
        await shooter.round(round)
      } catch (error) {
        failedAt ||= performance.now()
        throw error
      }
      done++
      if (done % 10 === 0)
        options.progress(`${shooter.sent} requests, ${Math.round((performance.now() - began) / 1000)} s`)
    })
    const details = await fc.check(property, { seed, numRuns, ...(path !== undefined && { path }) })
    const again = `npm run fuzz -- --requests ${options.requests} --seed ${seed} --path ${details.counterexamplePath}`
    return {
      ...{
        requests: shooter.sent,
        seed,
        seconds: Math.round((performance.now() - began) / 1000),
        answers: shooter.answers,
      },
      ...(details.failed && { failure: { what: String((details.errorInstance as Error)?.stack), again } }),
    }
  } finally {
    await shooter.end()
  }
}

/** Sends rounds at a world, which is replaced by a fresh one from time to time. */
class Shooter {
  readonly answers: Record<string, number> = {}
  sent = 0
  readonly #options: FuzzOptions
  #world: World | undefined
  #rounds = 0

  constructor(options: FuzzOptions) {
    this.#options = options
  }

  async round(round: Round): Promise<void> {
    const world = await this.#freshWorld()
    await world.refill()
    const first = await world.digest()
    await this.#shoot(world, 'strangers', round.strangers)
    await this.#shoot(world, 'readers', round.readers)
    const second = await world.digest()
    expectSame('Strangers and readers', changed(first, second))
    const standing = await world.standing()
    await this.#shoot(world, 'enqueuers', round.enqueuers)
    await this.#shoot(world, 'signed', round.signed)
    const third = await world.digest()
    expectSame('Functions and enqueuers', outOfReach(second, third))
    await this.#shoot(world, 'tenants', round.tenants)
    if ((await world.standing()) !== standing) throw new Error("Another tenant's jobs or endpoints were changed")
    const fourth = await world.digest()
    expectSame(
      'Tenants',
      outOfReach(third, fourth).filter(table => !TENANTS_TOO.test(table)),
    )
    await this.#shoot(world, 'operators', round.operators)
  }

  async end(): Promise<void> {
    await this.#world?.close()
    this.#world = undefined
  }

  async #freshWorld(): Promise<World> {
    if (this.#rounds++ % ROUNDS_PER_WORLD === 0) await this.end()
    this.#world ??= await makeWorld(await this.#options.createDatabase())
    return this.#world
  }

  async #shoot(world: World, phase: Phase, plans: readonly Plan[]): Promise<void> {
    const left = plans.values()
    const one = async () => {
      for (const plan of left) await this.#one(world, phase, plan)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, one))
  }

  async #one(world: World, phase: Phase, plan: Plan): Promise<void> {
    const shot = plan(world)
    const reply = await send(shot, world.targets[shot.door])
    this.sent++
    const name = `${phase} ${shot.door} ${reply.status}`
    this.answers[name] = (this.answers[name] ?? 0) + 1

    const { sender, rights }: { sender: Sender; rights?: Rights } = ROUND[phase]
    const fault = faultOf(shot, reply, sender, rights)
    if (fault === undefined) return
    throw new Error(
      `${fault}, by ${phase}: ${describeShot(shot)}\nanswered ${reply.status} ${reply.text.slice(0, 500)}`,
    )
  }
}

const outOfReach = (before: Digest, after: Digest): string[] =>
  changed(before, after).filter(table => OUT_OF_REACH.test(table))

function expectSame(who: string, tables: readonly string[]): void {
  if (tables.length > 0) throw new Error(`${who} have changed ${tables.join(', ')}`)
}
