// When to look for work again: at once while there is some, soon after, and then only when told.
//
// awake --(nothing for GRACE_MS, and somebody to wake us)--> raises its flag, goes on polling
//       --(every transaction that may have missed the flag has ended)--> asleep: waits for a notification
//       --(notifications come so often that they cost more than polls)--> lowers the flag, awake for a while
// Without a listener it stays awake and polls, more and more rarely.

import { Signal } from '../signal.ts'
import type { SqlEngine } from '../sql-engine.ts'
import type { OnEvent } from './events.ts'

const GRACE_MS = 500
/** Longest pause between polls while awake or falling asleep. */
const LONGEST_POLL_MS = 1_000
/** Longer than that no timer waits. Should a notification ever be lost, the pulse sees the work and nudges. */
const UNTIL_TOLD_MS = 2 ** 31 - 1
/** So many notifications within a second are a storm: it stays awake for a while, whoever takes the work. */
const STORM = 20
const STORM_GRACE_MS = 5_000

export class Idle {
  readonly #engine: SqlEngine
  readonly #onEvent: OnEvent
  readonly #signal = new Signal()
  #runtime = ''
  #listening = false
  #lastWork = 0
  #graceMs = GRACE_MS
  #heard: number[] = []
  /** Set while the flag is up: what quiet() is asked about. */
  #horizon: string | undefined
  #asleep = false

  constructor(engine: SqlEngine, onEvent: OnEvent) {
    this.#engine = engine
    this.#onEvent = onEvent
  }

  /** A new runtime row: its flag is down. */
  begin(runtime: string, listening: boolean): void {
    this.#runtime = runtime
    this.#listening = listening
    this.#lastWork = performance.now()
    this.#horizon = undefined
    this.#asleep = false
    // Who sleeps would not be woken, since the new row does not ask for it.
    this.#signal.notify()
  }

  /** True while nothing is polled. */
  get asleep(): boolean {
    return this.#asleep
  }

  /** There may be work: look now. */
  wake(): void {
    this.#heard = [...this.#heard.slice(1 - STORM), performance.now()]
    this.#signal.notify()
  }

  /** There may be room for work that was left where it was: look now. */
  nudge(): void {
    this.#signal.notify()
  }

  /** A look found work. */
  async worked(): Promise<void> {
    this.#lastWork = performance.now()
    if (this.#inStorm()) await this.#lowerFlag()
  }

  /** A look found nothing. Resolves when it is worth looking again, and after `mostMs` at the latest. */
  async rest(mostMs = UNTIL_TOLD_MS): Promise<void> {
    const emptyFor = performance.now() - this.#lastWork
    if (this.#inStorm()) await this.#lowerFlag()
    else if (this.#asleep) await this.#signal.wait(mostMs)
    else if (this.#horizon !== undefined) await this.#fallAsleep(this.#horizon, emptyFor)
    else if (this.#listening && emptyFor > this.#graceMs) await this.#raiseFlag()
    else await this.#signal.wait(pollDelay(emptyFor))
  }

  /** The flag is up and the last STORM notifications came within a second. */
  #inStorm(): boolean {
    const [first = 0] = this.#heard
    return this.#horizon !== undefined && this.#heard.length === STORM && performance.now() - first < 1_000
  }

  async #raiseFlag(): Promise<void> {
    await this.#engine.runtimeSleep(this.#runtime, true)
    this.#horizon = await this.#engine.sleepHorizon()
    this.#graceMs = GRACE_MS
  }

  /** The caller looks once more after this, so nothing is missed that was committed before all was quiet. */
  async #fallAsleep(horizon: string, emptyFor: number): Promise<void> {
    if (await this.#engine.quiet(horizon)) {
      this.#asleep = true
      this.#onEvent({ type: 'asleep' })
    } else await this.#signal.wait(pollDelay(emptyFor))
  }

  async #lowerFlag(): Promise<void> {
    this.#heard = []
    this.#graceMs = STORM_GRACE_MS
    this.#lastWork = performance.now()
    this.#horizon = undefined
    this.#asleep = false
    this.#onEvent({ type: 'awake' })
    await this.#engine.runtimeSleep(this.#runtime, false)
  }
}

const pollDelay = (emptyForMs: number): number => Math.min(LONGEST_POLL_MS, 2 + emptyForMs / 10)
