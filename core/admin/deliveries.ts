// The log of webhook deliveries, and what was delivered sent once more.

import { checkId, type Id } from '../job-id.ts'
import type { Calls, Page, PageOptions } from './calls.ts'

export interface DeliveryFilter {
  readonly endpoint?: string | undefined
  /** Of the endpoint. */
  readonly tenant?: string | undefined
  /** The delivery's job. */
  readonly job?: Id | undefined
  /** The job that was told of. */
  readonly about?: Id | undefined
  readonly state?: DeliveryView['state'] | undefined
  /** ISO 8601. */
  readonly since?: string | undefined
  readonly until?: string | undefined
}

/** One attempt to deliver. Times are ISO 8601. */
export interface DeliveryView {
  readonly id: number
  readonly at: string
  readonly job: number
  readonly attempt: number
  readonly endpoint: string
  /** `webhook-id`. */
  readonly message: string
  /** `job.completed` ... `webhook.test`. */
  readonly event: string
  readonly about: number | null
  readonly state: 'delivered' | 'retrying' | 'put_back' | 'failed' | 'cancelled'
  /** Null: there was no answer; `code` says why. */
  readonly status: number | null
  readonly code: string | null
  /** Null: it was not sent. */
  readonly latency_ms: number | null
  /** How the answer began, up to 1,000 characters. */
  readonly response: string | null
}

export interface Redelivered {
  /** The job that delivers it now; null where there is a problem. */
  readonly id: number | null
  readonly problem: 'not_found' | 'no_endpoint' | 'endpoint_disabled' | 'not_retryable' | null
}

export interface RedeliverOptions {
  /** ISO 8601. */
  readonly since?: string | undefined
  readonly until?: string | undefined
  /** False: also what has got through, each event once. */
  readonly onlyFailed?: boolean | undefined
}

/** What a part of many came to. */
export interface RedeliveredSome {
  readonly redelivered: number
  /** Not readable any more, or on their way already. */
  readonly refused: number
  /** Hand it back for the next part; null: this was the last. */
  readonly cursor: string | null
}

/** What one statement redelivers. */
const CHUNK = 100

export class Deliveries {
  readonly #calls: Calls

  constructor(calls: Calls) {
    this.#calls = calls
  }

  /** One page, newest first. @throws {MillraceError} `invalid_request` */
  async list(filter: DeliveryFilter = {}, { limit, cursor }: PageOptions = {}): Promise<Page<DeliveryView>> {
    const { job, about, ...rest } = filter
    const ids = { job: job && String(checkId(job)), about: about && String(checkId(about)) }
    const call = 'list_deliveries($1::text::jsonb, $2::text, $3::text::int)'
    const params = [JSON.stringify({ ...rest, ...ids }), cursor ?? null, limit ?? null]
    return (await this.#calls.value(call, params)) as Page<DeliveryView>
  }

  /** Sends one delivery again, by its job and under the same `webhook-id`. With a tenant, as if there were its endpoints only. */
  async redeliver(job: Id, { tenant }: { readonly tenant?: string | undefined } = {}): Promise<Redelivered> {
    const [row] = await this.#calls.rows<Redelivered>('redeliver($1::text::bigint, $2::text, $3::text)', [
      checkId(job),
      this.#calls.by,
      tenant ?? null,
    ])
    return row as Redelivered
  }

  /**
   * Sends again what failed at an endpoint, as far as one statement goes. As long as it answers a cursor there is more.
   *
   * @throws {MillraceError} `invalid_request`
   */
  async redeliverSome(
    endpoint: string,
    { since, until, onlyFailed = true }: RedeliverOptions = {},
    { limit = CHUNK, cursor }: PageOptions = {},
  ): Promise<RedeliveredSome> {
    const call =
      'redeliver_many($1::text, $2::text::timestamptz, $3::text::timestamptz, $4::text::boolean, $5::text, $6::text::int, $7::text)'
    const params = [endpoint, since ?? null, until ?? null, onlyFailed, cursor ?? null, limit, this.#calls.by]
    return (await this.#calls.value(call, params)) as RedeliveredSome
  }

  /** Sends again what failed at an endpoint, in chunks of 100, each a transaction unless the caller's is one. */
  async redeliverMany(
    endpoint: string,
    options: RedeliverOptions = {},
  ): Promise<{ redelivered: number; refused: number }> {
    const answer = { redelivered: 0, refused: 0 }
    for (let cursor: string | null | undefined; cursor !== null; ) {
      const done = await this.redeliverSome(endpoint, options, { cursor })
      answer.redelivered += done.redelivered
      answer.refused += done.refused
      cursor = done.cursor
    }
    return answer
  }
}
