// Takes webhook deliveries to their endpoints, and puts on record what became of them.

import type { Closed, Outcome } from '../engine.ts'
import type { ClaimedJob } from '../engine-rows.ts'
import type { Closer } from './closer.ts'
import { type Delivery, deliveryOf, deliveryParts, excerptOf, isFor, reportOn } from './delivery.ts'
import type { Endpoint, Endpoints } from './endpoints.ts'
import type { OnEvent } from './events.ts'
import { requestOf } from './request.ts'
import type { Route, Routes } from './route.ts'
import { type Transport, TransportError } from './transport.ts'
import { disabledAs, ENDPOINT_NOT_READ, NO_ENDPOINT, SECRET_UNREADABLE, unbuilt } from './unsent.ts'
import { type Verdict, verdictOn, verdictOnFailure } from './verdict.ts'

export interface DelivererOptions {
  readonly endpoints: Endpoints
  readonly routes: Routes
  readonly closer: Closer
  readonly transport: Transport
  readonly onEvent: OnEvent
  /** Fires when requests are given up. */
  readonly signal: AbortSignal
  /** Sends as soon as the target has a place; or answers why nothing is sent. */
  readonly inTurn: (job: ClaimedJob, route: Route, send: () => Promise<Verdict>) => Promise<Verdict>
}

export class Deliverer {
  readonly #options: DelivererOptions

  constructor(options: DelivererOptions) {
    this.#options = options
  }

  /** Resolves once the attempt's end is on record. */
  async take(job: ClaimedJob): Promise<void> {
    const delivery = deliveryOf(job)
    const verdict = await this.#deliver(job, delivery)
    if (verdict.do !== 'close') return
    const { segment, id, attempt } = job
    const item = { segment, id, attempt, outcome: withoutResult(verdict.outcome) }
    const report = reportOn(delivery, item.outcome, verdict.sent)
    const { closer, endpoints, onEvent } = this.#options
    if (report === undefined) return this.#tell(job, item.outcome, await closer.close(item))
    const closed = await closer.deliver({ ...item, report })
    this.#tell(job, item.outcome, closed)
    if (closed.disabled === undefined) return
    endpoints.forget()
    onEvent({ type: 'endpoint_disabled', endpoint: delivery.endpoint, reason: closed.disabled })
  }

  #tell({ id, kind, attempt }: ClaimedJob, outcome: Outcome, { state, fresh }: Closed): void {
    const error = 'error' in outcome ? outcome.error : undefined
    this.#options.onEvent({ type: 'closed', job: id, kind, attempt, state, fresh, ...error })
  }

  async #deliver(job: ClaimedJob, delivery: Delivery): Promise<Verdict> {
    const endpoint = await this.#lookUp(delivery)
    if (endpoint === null) return ENDPOINT_NOT_READ
    const route = endpoint && this.#options.routes.to(endpoint)
    if (endpoint === undefined || route === undefined || !isFor(delivery, endpoint)) return NO_ENDPOINT
    if (endpoint.disabled !== undefined) return disabledAs(endpoint.disabled)
    if (endpoint.secrets.length === 0) return SECRET_UNREADABLE
    return this.#options.inTurn(job, route, () => this.#send(job, route, delivery))
  }

  /** Null: the database did not answer. */
  #lookUp({ endpoint }: Delivery): Promise<Endpoint | undefined | null> {
    return this.#options.endpoints.of(endpoint).catch(error => {
      this.#options.onEvent({ type: 'error', during: `look-up of endpoint ${endpoint}`, error })
      return null
    })
  }

  async #send({ id, kind, attempt }: ClaimedJob, route: Route, delivery: Delivery): Promise<Verdict> {
    const { transport, onEvent, signal } = this.#options
    let began: number | undefined
    const since = (from: number) => ({ latencyMs: performance.now() - from })
    try {
      const request = requestOf(route, await deliveryParts(delivery, route, Date.now()), signal)
      onEvent({ type: 'dispatched', job: id, kind, attempt })
      began = performance.now()
      const answer = await transport.post(request)
      const sent = { ...since(began), status: answer.status, response: excerptOf(answer) }
      return { ...verdictOn(answer, route, Date.now()), sent }
    } catch (error) {
      const verdict = error instanceof TransportError ? verdictOnFailure(error, route) : unbuilt(error)
      return { ...verdict, ...(began !== undefined && { sent: since(began) }) }
    }
  }
}

/** What an endpoint answers is nothing that anybody asked for; the log has how it began. */
const withoutResult = (outcome: Outcome): Outcome => (outcome.kind === 'completed' ? { kind: 'completed' } : outcome)
