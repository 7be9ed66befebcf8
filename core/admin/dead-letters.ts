// Dead letters: failed jobs that wait for somebody to look at them.

import type { JobError } from '../engine-rows.ts'
import { checkId, type Id } from '../job-id.ts'
import type { Json } from '../json.ts'
import type { Calls, Page, PageOptions } from './calls.ts'
import type { Lane } from './jobs.ts'

/** All that is given must hold. */
export interface DeadLetterFilter {
  readonly queue?: string | undefined
  readonly kind?: string | undefined
  /** See {@link DeadLetterRow.reason}. */
  readonly reason?: string | undefined
  readonly tag?: string | undefined
  /** `metadata.tenant`. */
  readonly tenant?: string | undefined
  readonly ids?: readonly Id[] | undefined
}

/** A filter for what changes many: an empty one has to say that it means all. */
export interface BulkDeadLetterFilter extends DeadLetterFilter {
  readonly all?: boolean | undefined
}

/** Times are ISO 8601. */
export interface DeadLetterRow {
  readonly id: number
  readonly kind: string
  readonly queue: string
  readonly priority: number
  /** terminal_error, max_attempts_exhausted, put_back_limit, callback_timeout, dispatcher_lost or deadline_exceeded. */
  readonly reason: string
  readonly attempt: number
  readonly max_attempts: number
  readonly tags: readonly string[]
  readonly unique_key: string | null
  readonly enqueued_at: string
  readonly died_at: string
  readonly expires_at: string
  readonly error: JobError | null
}

/** A dead letter with everything that a retry would work with. */
export interface DeadLetter extends DeadLetterRow {
  readonly args: Json
  readonly metadata: Readonly<Record<string, Json>>
  readonly progress: Json
  readonly errors: readonly JobError[]
}

export interface DeadLettersRetried {
  readonly retried: number
  readonly refused: readonly { readonly id: number; readonly problem: string }[]
}

export interface DeadLetterDepth {
  readonly total: number
  /** True: there are more than were counted. */
  readonly lower_bound: boolean
  readonly queues: readonly { readonly queue: string; readonly count: number; readonly oldest_died_at: string }[]
}

/** What one statement retries or purges. */
const CHUNK = 500

export class DeadLetters {
  readonly #calls: Calls

  constructor(calls: Calls) {
    this.#calls = calls
  }

  /** One page, last died first. @throws {MillraceError} `invalid_request` */
  async list(filter: DeadLetterFilter = {}, { limit, cursor }: PageOptions = {}): Promise<Page<DeadLetterRow>> {
    const call = 'list_dead_letters($1::text::jsonb, $2::text, $3::text::int)'
    return (await this.#calls.value(call, [json(filter), cursor ?? null, limit ?? null])) as Page<DeadLetterRow>
  }

  /** Undefined: the job is no dead letter. */
  async get(id: Id): Promise<DeadLetter | undefined> {
    return this.#calls.json('dead_letter_detail($1::text::bigint)', [checkId(id)])
  }

  /**
   * Retries all that match, in chunks of 500, each a transaction unless the caller's is one: attempt numbers go on, and each
   * job has all of its kind's attempts before it. For very many, see {@link Batches}, which go on after a crash.
   *
   * @throws {MillraceError} `invalid_request`: neither a filter nor `all`; `invalid_queue`, `invalid_priority`
   */
  async retry(filter: BulkDeadLetterFilter, { queue, priority }: Lane = {}): Promise<DeadLettersRetried> {
    const answer = { retried: 0, refused: [] as { id: number; problem: string }[] }
    for (let cursor: string | null | undefined; cursor !== null; ) {
      const call = 'retry_dead_letters($1::text::jsonb, $2::text, $3::text::int, $4::text, $5::text::int, $6::text)'
      const params = [json(filter), cursor ?? null, CHUNK, queue ?? null, priority ?? null, this.#calls.by]
      const done = (await this.#calls.value(call, params)) as DeadLettersRetried & { cursor: string | null }
      answer.retried += done.retried
      answer.refused.push(...done.refused)
      cursor = done.cursor
    }
    return answer
  }

  /** Deletes all that match, for good; answers how many. @throws {MillraceError} `invalid_request`: neither a filter nor `all` */
  async purge(filter: BulkDeadLetterFilter): Promise<number> {
    let purged = 0
    for (let cursor: string | null | undefined; cursor !== null; ) {
      const call = 'purge_dead_letters($1::text::jsonb, $2::text, $3::text::int, $4::text)'
      const done = await this.#calls.value<{ purged: number; cursor: string | null }>(call, [
        json(filter),
        cursor ?? null,
        CHUNK,
        this.#calls.by,
      ])
      purged += done?.purged ?? 0
      cursor = done?.cursor ?? null
    }
    return purged
  }

  /** How many there are in each queue, counted up to 100,000. */
  async depth(): Promise<DeadLetterDepth> {
    return (await this.#calls.value('dead_letter_depth()')) as DeadLetterDepth
  }
}

const json = ({ ids, ...same }: BulkDeadLetterFilter): string => JSON.stringify({ ...same, ids: ids?.map(checkId) })
