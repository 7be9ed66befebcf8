// The loops beside dispatching: promotion, rescue, schedules and the leader's chores, each run when it is due.

import type { OnEvent } from '../dispatch/events.ts'
import type { Idle } from '../dispatch/idle.ts'
import type { MaintenanceEngine, PulseAnswer } from '../maintenance-engine.ts'
import type { SqlEngine } from '../sql-engine.ts'
import { type ChoreStep, ChoreTimer } from './chore.ts'
import { CHORES } from './chores.ts'
import type { Leadership } from './leadership.ts'
import { Loop, WHEN_TOLD } from './loop.ts'
import { promoteOnce } from './promote.ts'
import { rescueOnce } from './rescue.ts'

export interface DutiesOptions {
  readonly engine: SqlEngine
  readonly maintenance: MaintenanceEngine
  /** Fires schedules as the leader; answers in how many milliseconds the next one is due. */
  readonly fire: (epoch: string) => Promise<number>
  readonly leadership: Leadership
  readonly idle: Idle
  readonly onEvent: OnEvent
}

/** While awake, deferred jobs come without notice. */
const PROMOTE_AWAKE_MS = 250

export class Duties {
  readonly #options: DutiesOptions
  readonly #promote: Loop
  readonly #rescue: Loop
  readonly #schedules: Loop
  readonly #chores = new Map<string, { loop: Loop; timer: ChoreTimer }>()

  constructor(options: DutiesOptions) {
    const { onEvent, leadership, fire } = options
    this.#options = options
    this.#promote = new Loop('promote', () => this.#promoteOnce(), onEvent)
    this.#rescue = new Loop('rescue', () => this.#rescueOnce(), onEvent)
    this.#schedules = new Loop('schedules', async () => (await leadership.lead(fire)) ?? WHEN_TOLD, onEvent)
    for (const step of CHORES) {
      const timer = new ChoreTimer(step)
      this.#chores.set(step.name, { timer, loop: new Loop(step.name, () => this.#choreOnce(step, timer), onEvent) })
    }
  }

  /** What is due is told by the first pulse. */
  start(): void {
    this.#promote.start()
    for (const loop of this.#toldOnly()) loop.start(WHEN_TOLD)
  }

  async stop(): Promise<void> {
    await Promise.all([this.#promote, ...this.#toldOnly()].map(loop => loop.stop()))
  }

  /** There may be deferred jobs that nobody told of. */
  wake(): void {
    this.#promote.wake()
  }

  tell({ beatMs = 0, promoteMs, rescueMs, fireMs, chores }: PulseAnswer): void {
    // What is due later may no longer be by then: the next pulse tells.
    const soon = (ms = WHEN_TOLD) => (ms <= beatMs ? ms : WHEN_TOLD)
    this.#promote.dueIn(soon(promoteMs))
    this.#rescue.dueIn(soon(rescueMs))
    this.#schedules.dueIn(soon(fireMs))
    for (const name of chores) {
      const chore = this.#chores.get(name)
      chore?.loop.dueIn(chore.timer.dueMs(performance.now()))
    }
  }

  #toldOnly(): Loop[] {
    return [this.#rescue, this.#schedules, ...[...this.#chores.values()].map(({ loop }) => loop)]
  }

  async #promoteOnce(): Promise<number> {
    const { engine, idle, onEvent } = this.#options
    // Before it looks: what comes once it has fallen asleep is told, what came earlier has to be seen.
    const { asleep } = idle
    const { promoted, nextInMs = WHEN_TOLD } = await promoteOnce(engine, onEvent)
    if (promoted > 0) idle.wake()
    if (nextInMs === 0) return 0
    return Math.min(asleep ? WHEN_TOLD : PROMOTE_AWAKE_MS, Math.max(1, nextInMs))
  }

  async #rescueOnce(): Promise<number> {
    const { rescued, more } = await rescueOnce(this.#options.engine, this.#options.onEvent)
    if (rescued > 0) this.#promote.wake()
    return more ? 0 : WHEN_TOLD
  }

  async #choreOnce(step: ChoreStep, timer: ChoreTimer): Promise<number> {
    const { leadership, maintenance, onEvent } = this.#options
    const done = await leadership.lead(epoch => step.runOnce(maintenance, epoch, onEvent))
    if (done === undefined) return WHEN_TOLD
    timer.ran(done, performance.now())
    return done.more ? 0 : WHEN_TOLD
  }
}
