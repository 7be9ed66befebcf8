// Bulk operations: submitted once, done by the leader a chunk at a time, in spite of crashes.

import { checkId, type Id } from '../job-id.ts'
import type { JobState } from '../wire.ts'
import type { Calls, Page, PageOptions } from './calls.ts'
import { filterJson, type JobFilter } from './job-filter.ts'
import type { JobRow, Lane } from './jobs.ts'

export type BatchOperation = 'retry' | 'cancel' | 'set_priority' | 'move_queue'
export type BatchState = 'pending' | 'running' | 'completed' | 'cancelled'

/** A filter for what changes many: an empty one has to say that it means all. */
export interface BatchFilter extends JobFilter {
  readonly all?: boolean | undefined
}

/** Times are ISO 8601. */
export interface Batch {
  readonly id: number
  readonly operation: BatchOperation
  /** As it was submitted, with the states that the operation takes unless the filter names some. */
  readonly filter: Readonly<Record<string, unknown>> & { readonly state: readonly JobState[] }
  readonly params: Lane
  readonly state: BatchState
  readonly created_at: string
  readonly created_by: string | null
  /** Of the jobs looked at so far. */
  readonly matched: number
  readonly changed: number
  /** Matched, but in a state that does not allow the operation, or refused for another reason: see `error`. */
  readonly refused: number
  /** The last job that could not be changed because of an error, and why. */
  readonly error: string | null
  readonly finished_at: string | null
}

export interface BatchPreview {
  readonly count: number
  /** True: there are more than were counted; the look stopped at its bound. */
  readonly lower_bound: boolean
  /** The newest ten. */
  readonly sample: readonly JobRow[]
}

export interface BatchListOptions extends PageOptions {
  readonly state?: BatchState | undefined
}

export class Batches {
  readonly #calls: Calls

  constructor(calls: Calls) {
    this.#calls = calls
  }

  /**
   * Asks for an operation on all jobs that match and were enqueued before now; the leader begins at once. `params`: where to,
   * for set_priority and move_queue. `by`: who asks, for the record.
   *
   * Unless the filter names states: retry takes failed jobs, the others take jobs that have not ended.
   *
   * @throws {MillraceError} `invalid_request`: neither a filter nor `all`; `invalid_queue`, `invalid_priority`
   */
  async submit(operation: BatchOperation, filter: BatchFilter, params: Lane = {}, by?: string): Promise<Batch> {
    const call = 'submit_batch($1::text, $2::text::jsonb, $3::text::jsonb, $4::text, $5::text)'
    const actor = this.#calls.by
    const given = [operation, filterJson(filter), JSON.stringify(params), by ?? actor, actor]
    return (await this.#calls.value(call, given)) as Batch
  }

  /** What {@link submit} would work on now. @throws {MillraceError} as submit */
  async preview(operation: BatchOperation, filter: BatchFilter, params: Lane = {}): Promise<BatchPreview> {
    const call = 'preview_batch($1::text, $2::text::jsonb, $3::text::jsonb)'
    return (await this.#calls.value(call, [operation, filterJson(filter), JSON.stringify(params)])) as BatchPreview
  }

  /** One page, newest first. */
  async list({ limit, cursor, state }: BatchListOptions = {}): Promise<Page<Batch>> {
    const call = 'list_batches($1::text, $2::text, $3::text::int)'
    return (await this.#calls.value(call, [state ?? null, cursor ?? null, limit ?? null])) as Page<Batch>
  }

  async get(id: Id): Promise<Batch | undefined> {
    return this.#calls.value('get_batch($1::text::bigint)', [checkId(id)])
  }

  /** Stops it; what is done stays done. Answers the batch as it is from now on; undefined: there is none. */
  async cancel(id: Id): Promise<Batch | undefined> {
    return this.#calls.value('cancel_batch($1::text::bigint, $2::text)', [checkId(id), this.#calls.by])
  }

  /** Forgets batches that ended longer ago than this, in seconds: 90 days. Answers how many. */
  async purge(olderThanSeconds = 90 * 24 * 3600): Promise<number> {
    const call = 'purge_batches($1::text::float8, $2::text)'
    return (await this.#calls.value<number>(call, [olderThanSeconds, this.#calls.by])) ?? 0
  }

  /**
   * Does one chunk of a batch, of up to 100 jobs, in one transaction; answers the batch. With an epoch it does so only as
   * that leader. Undefined: it is not open, or somebody else is at it.
   *
   * @throws {MillraceError} `not_leader`
   */
  async step(id: Id, epoch?: Id): Promise<Batch | undefined> {
    const params = [checkId(id), epoch === undefined ? null : checkId(epoch)]
    return this.#calls.value('batch_step($1::text::bigint, $2::text::bigint)', params)
  }

  /** The batches that are not done, oldest first; at most a hundred. */
  async open(): Promise<readonly Id[]> {
    return (await this.#calls.value<readonly Id[]>('open_batches()')) ?? []
  }
}
