// Takes jobs from the database to their functions and puts on record what became of them.
//
// A job in hand goes: claimed (on record) → waits for a place at its target → request → verdict → closed or parked (on
// record). Whatever fails on the way, the attempt stays open in the database and is closed by somebody: by the function's
// callback, by a later call of ours, or by rescue once this process is gone.

import type { ClaimedJob } from '../engine-rows.ts'
import { deriveSealingKeyring } from '../protocol/sealing.ts'
import { Signal } from '../signal.ts'
import type { SqlEngine } from '../sql-engine.ts'
import { authorized, type Credentials } from './authorize.ts'
import { Closer } from './closer.ts'
import { Deliverer } from './deliverer.ts'
import { WEBHOOK_KIND } from './delivery.ts'
import { Endpoints } from './endpoints.ts'
import type { OnEvent } from './events.ts'
import { Gate } from './gate.ts'
import { Hands } from './hands.ts'
import type { Idle } from './idle.ts'
import { invoke } from './invoke.ts'
import type { LambdaInvoker } from './lambda-invoker.ts'
import { Recorder } from './recorder.ts'
import { requestFor, type Sender } from './request.ts'
import { type Route, Routes } from './route.ts'
import { type Transport, TransportError } from './transport.ts'
import {
  endpointBusy,
  NO_CALLBACK_URL,
  NO_LAMBDA_INVOKER,
  noTarget,
  RELEASE,
  throttledBefore,
  unbuilt,
} from './unsent.ts'
import { type Verdict, verdictOn, verdictOnFailure } from './verdict.ts'

export interface DispatcherOptions {
  readonly engine: SqlEngine
  readonly transport: Transport
  readonly sender: Sender
  /** Jobs of functions of AWS Lambda wait until there is one. */
  readonly lambdaInvoker?: LambdaInvoker | undefined
  /** What targets may ask for. */
  readonly credentials?: Credentials | undefined
  readonly idle: Idle
  readonly onEvent: OnEvent
  /** Called before the first claim after one that failed: from then on `runtime()` must answer another id. */
  readonly renewRuntime: () => Promise<void>
  /** Jobs in hand at most, waiting, in flight or being closed: 1000. */
  readonly inHand?: number | undefined
  /** Jobs in one claim at most: 500. */
  readonly batch?: number | undefined
  /** Callback mode: how long an attempt stays open whose request may have been accepted, in seconds: 60. */
  readonly ambiguitySeconds?: number | undefined
}

/** Declarations are read again after that, when they change, and for jobs whose kind has none. */
const ROUTES_AGE_MS = 30_000
/** Sleeps no longer than that while queues are left out, although it is told when one has room again. */
const LEFT_OUT_MS = 1_000
/** For a rate that allows the next job at any moment. */
const SHORTEST_REST_MS = 10
/** A target that pauses for longer has its waiting jobs put back. */
const LONGEST_PAUSE_IN_HAND_MS = 2_000
/** An endpoint may be put off for a day; whoever else is at its origin, other tenants among them, is not at its word. */
const LONGEST_PAUSE_BY_ENDPOINT_MS = 60_000
/** Deliveries share a queue, which is left out of claims while too many of them wait here. */
const LONGEST_WAIT_FOR_ENDPOINT_MS = 2_000

export class Dispatcher {
  readonly #options: DispatcherOptions
  readonly #hands: Hands
  readonly #routes: Routes
  readonly #endpoints: Endpoints
  readonly #deliverer: Deliverer
  readonly #recorder: Recorder
  readonly #gates = new Map<string, Gate>()
  readonly #abort = new AbortController()
  readonly #settled = new Signal()
  /** Cuts the pause after a failed claim short. */
  readonly #failed = new Signal()
  /** How many jobs are in hand of each runtime id. */
  readonly #held = new Map<string, number>()
  #claiming: Promise<unknown> | undefined
  /** How many queues the last claim left out. */
  #leftOut = 0
  #unsure = false
  #stopping = false

  constructor(options: DispatcherOptions) {
    this.#options = options
    this.#hands = new Hands(options.inHand ?? 1_000, options.batch ?? 500, () => options.idle.nudge())
    this.#routes = new Routes(
      options.engine,
      limitOf => {
        for (const [origin, gate] of this.#gates) gate.resize(limitOf(origin))
      },
      options.ambiguitySeconds,
    )
    this.#endpoints = new Endpoints(options.engine, deriveSealingKeyring(options.sender.keyring))
    const closer = new Closer(options.engine, options.onEvent)
    this.#recorder = new Recorder(closer, options.onEvent)
    this.#deliverer = new Deliverer({
      ...{ endpoints: this.#endpoints, routes: this.#routes, closer },
      ...{ transport: options.transport, onEvent: options.onEvent, signal: this.#abort.signal },
      inTurn: async (job, route, send) => this.#unsendable(job, route) ?? this.#sendInTurn(job, route, send),
    })
  }

  /** Jobs claimed and not yet settled. */
  get inHand(): number {
    return this.#hands.jobs
  }

  /** True while jobs are in hand that were claimed under this id. */
  holds(runtime: string): boolean {
    return this.#held.has(runtime)
  }

  /** True during a claim and after a failed one: it may be on record all the same, with jobs that were never seen here. */
  get unsure(): boolean {
    return this.#unsure
  }

  /** Reads kinds and endpoints anew. */
  reload(): Promise<void> {
    this.#endpoints.forget()
    return this.#routes.reload()
  }

  /** Claims once, as much as there is room for, and sets it on its way. Answers how many jobs that were. */
  async runOnce(runtime: string): Promise<number> {
    const room = this.#hands.room()
    if (room === 0) return 0
    await this.#routes.refresh(ROUTES_AGE_MS)
    const claiming = this.#claim(runtime, room)
    this.#claiming = claiming
    const jobs = await claiming
    if (jobs.length > 0) this.#options.onEvent({ type: 'claimed', jobs: jobs.length })
    if (jobs.length > 0) this.#held.set(runtime, (this.#held.get(runtime) ?? 0) + jobs.length)
    for (const job of jobs) void this.#take(job).then(() => this.#settle(runtime))
    return jobs.length
  }

  /** Resolves when a job in hand is settled, and after `ms` at the latest. */
  async settles(ms: number): Promise<void> {
    await this.#settled.wait(ms)
  }

  /**
   * Claims for as long as it is not stopped. `runtime` tells under which id.
   *
   * A claim whose answer is lost may be on record all the same, with jobs that nobody works on. That is why the next
   * one goes under another id: once the old one is held no more, rescue takes it for dead and finds them.
   */
  async run(runtime: () => string): Promise<void> {
    const { idle, onEvent } = this.#options
    let failures = 0
    while (!this.#stopping) {
      if (this.#hands.room() === 0) {
        await this.#hands.roomAgain()
        continue
      }
      try {
        if (this.#unsure) await this.#renewRuntime()
        if ((await this.runOnce(runtime())) > 0) await idle.worked()
        else if (this.#hands.crowded().length < this.#leftOut) continue
        else if (!this.#stopping) await idle.rest(await this.#longestRest())
        failures = 0
      } catch (error) {
        onEvent({ type: 'error', during: 'claim', error })
        await this.#failed.wait(Math.min(5_000, 50 * 2 ** failures++))
      }
    }
  }

  /**
   * Stops claiming, hands back what has not been sent, and waits for what is in flight for at most `timeoutMs`; then
   * gives those requests up: sync ones are handed back, callback ones stay open for their callback.
   */
  async stop(timeoutMs: number): Promise<void> {
    this.#stopping = true
    this.#failed.notify()
    this.#options.idle.wake()
    for (const gate of this.#gates.values()) gate.withdraw()
    // A claim under way still brings jobs, to be handed back.
    await this.#claiming?.catch(() => undefined)
    const giveUpAt = performance.now() + timeoutMs
    while (this.inHand > 0 && performance.now() < giveUpAt) await this.#settled.wait(giveUpAt - performance.now())
    this.#abort.abort()
    while (this.inHand > 0) await this.#settled.wait(1_000)
  }

  async #claim(runtime: string, room: number): Promise<ClaimedJob[]> {
    const crowded = this.#hands.crowded()
    this.#leftOut = crowded.length
    this.#unsure = true
    const jobs = await this.#hands.claim(() => this.#options.engine.claim(runtime, room, crowded))
    this.#unsure = false
    return jobs
  }

  /** Nobody tells when a queue's rate has room again. While awake it is looked often enough. */
  async #longestRest(): Promise<number | undefined> {
    if (this.#leftOut > 0) return LEFT_OUT_MS
    if (!this.#options.idle.asleep) return undefined
    const ms = await this.#options.engine.limitedMs()
    return ms === undefined ? undefined : Math.max(SHORTEST_REST_MS, ms)
  }

  async #renewRuntime(): Promise<void> {
    await this.#options.renewRuntime()
    this.#unsure = false
  }

  #settle(runtime: string): void {
    const held = (this.#held.get(runtime) ?? 0) - 1
    if (held > 0) this.#held.set(runtime, held)
    else this.#held.delete(runtime)
    this.#hands.settled()
    this.#settled.notify()
  }

  /** Never rejects. */
  async #take(job: ClaimedJob): Promise<void> {
    try {
      if (job.kind === WEBHOOK_KIND) return await this.#deliverer.take(job)
      const route = this.#routes.of(job) ?? (await this.#lookAgain(job))
      const verdict =
        this.#unsendable(job, route) ??
        (await this.#sendInTurn(job, route as Route, () => this.#send(job, route as Route)))
      await this.#recorder.record(job, verdict)
    } catch (error) {
      this.#options.onEvent({ type: 'error', during: `job ${job.id}`, error })
    }
  }

  /** What becomes of a job that cannot be sent, or not now. */
  #unsendable(job: ClaimedJob, route: Route | undefined): Verdict | undefined {
    if (this.#stopping) return RELEASE
    if (route === undefined) return noTarget(job)
    if (route.lambda !== undefined && this.#options.lambdaInvoker === undefined) return NO_LAMBDA_INVOKER
    if (route.mode === 'callback' && this.#options.sender.callbackBase === undefined) return NO_CALLBACK_URL
    const gate = this.#gateOf(route)
    const pause = gate.pausedFor(Date.now())
    if (pause > LONGEST_PAUSE_IN_HAND_MS) return throttledBefore(route, pause)
    return route.slowsDown && gate.isBusy ? endpointBusy(route) : undefined
  }

  #sendInTurn(job: ClaimedJob, route: Route, send: () => Promise<Verdict>): Promise<Verdict> {
    const gate = this.#gateOf(route)
    this.#hands.waits(job.queue)
    const tooLong = route.slowsDown ? setTimeout(() => gate.giveUp(), LONGEST_WAIT_FOR_ENDPOINT_MS) : undefined
    return new Promise(resolve => {
      gate.add(async go => {
        clearTimeout(tooLong)
        this.#hands.waitsNoMore(job.queue)
        const verdict = go ? await send() : undefined
        if (verdict) this.#tell(gate, route, verdict)
        resolve(verdict ?? this.#unsendable(job, route) ?? RELEASE)
      })
    })
  }

  async #send(job: ClaimedJob, route: Route): Promise<Verdict> {
    const { transport, lambdaInvoker, sender, credentials = {}, onEvent } = this.#options
    const { kind, id, attempt } = job
    try {
      const build = () => requestFor(job, route, sender, Date.now(), this.#abort.signal)
      const { authorization } = route
      const request = authorization === undefined ? build() : await authorized(build, authorization, credentials)
      onEvent({ type: 'dispatched', job: id, kind, attempt })
      if (route.lambda !== undefined && lambdaInvoker !== undefined) return await invoke(lambdaInvoker, request, route)
      return verdictOn(await transport.post(request), route, Date.now())
    } catch (error) {
      if (error instanceof TransportError) return verdictOnFailure(error, route)
      return unbuilt(error)
    }
  }

  /** Lets the gate learn from the answer. */
  #tell(gate: Gate, route: Route, verdict: Verdict): void {
    if (verdict.do !== 'close' || verdict.outcome.kind === 'completed') gate.succeeded()
    if (verdict.do !== 'close' || verdict.throttleMs === undefined) return
    const longest = route.slowsDown ? LONGEST_PAUSE_BY_ENDPOINT_MS : Number.POSITIVE_INFINITY
    const pauseMs = Math.min(verdict.throttleMs, longest)
    gate.throttled(pauseMs, Date.now())
    this.#options.onEvent({ type: 'throttled', origin: route.origin, pauseMs })
    if (pauseMs > LONGEST_PAUSE_IN_HAND_MS) gate.withdraw()
  }

  async #lookAgain(job: ClaimedJob): Promise<Route | undefined> {
    await this.#routes.reload().catch(() => undefined)
    return this.#routes.of(job)
  }

  #gateOf(route: Route): Gate {
    const known = this.#gates.get(route.origin)
    if (known) return known
    const gate = new Gate(route.concurrency)
    this.#gates.set(route.origin, gate)
    return gate
  }
}
