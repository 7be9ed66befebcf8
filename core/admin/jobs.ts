// Jobs as operators see them: lists, one with its attempts, retry, cancel, another lane.

import type { JobError, JobView } from '../engine-rows.ts'
import { checkId, type Id, idsLiteral } from '../job-id.ts'
import type { JobState } from '../wire.ts'
import type { Calls, Page, PageOptions } from './calls.ts'
import type { JobFollowUpProblem } from './follow-ups.ts'
import { filterJson, type JobFilter } from './job-filter.ts'

/** A job in a list, without what may be large. Times are ISO 8601. */
export interface JobRow {
  readonly id: number
  readonly kind: string
  readonly queue: string
  readonly priority: number
  readonly state: JobState
  readonly attempt: number
  readonly max_attempts: number
  readonly tags: readonly string[]
  readonly unique_key: string | null
  readonly enqueued_at: string
  readonly run_at: string
  readonly finished_at: string | null
  readonly wait: JobView['wait']
  /** Of the last attempt that failed. */
  readonly error: JobError | null
}

/** How one attempt went. Of attempts whose log is gone, only failed ones are known. */
export interface AttemptView {
  readonly attempt: number
  /** How it ended, else what it is doing now. `retryable`: it failed, and the job went on; `released`: it neither failed nor used up an attempt. */
  readonly state: JobState | 'released'
  readonly available_at: string | null
  readonly claimed_at: string | null
  /** The dispatcher's number, see {@link RuntimeView}. */
  readonly runtime: number | null
  readonly finished_at: string | null
  readonly error: { readonly code?: string; readonly message?: string } | null
}

/** A job with everything that is known of it. */
export interface JobDetail extends JobView {
  readonly unique_key: string | null
  readonly dead_letter: { readonly reason: string; readonly died_at: string; readonly expires_at: string } | null
  /** Oldest first. */
  readonly attempts: readonly AttemptView[]
  /** What should have followed but could not be enqueued, oldest first. */
  readonly follow_up_problems: readonly JobFollowUpProblem[]
}

export interface ListOptions extends PageOptions {
  /** Whole jobs, with arguments, errors and result: {@link JobView}s. */
  readonly full?: boolean | undefined
}

/** Why a job was left as it is. */
export type RetryProblem = 'not_found' | 'not_retryable' | 'unique_conflict'
export type MoveProblem = 'not_found' | 'not_movable'

export interface Retried {
  readonly id: number
  /** From now on; null: there is no such job. */
  readonly state: JobState | null
  readonly retried: boolean
  readonly problem: RetryProblem | null
}

export interface Cancelled {
  readonly id: number
  readonly state: JobState
  /** False: it had ended before. */
  readonly cancelled: boolean
}

export interface Moved {
  readonly id: number
  readonly state: JobState | null
  /** False without a problem: it was there already. */
  readonly moved: boolean
  readonly problem: MoveProblem | null
}

/** Where to, as far as it changes. */
export interface Lane {
  readonly queue?: string | undefined
  /** 1 (first) to 4. */
  readonly priority?: number | undefined
}

/** A cancel is audited if it says by whom, which operators do. */
const SOMEBODY = 'coalesce($3::text, session_user::text)'

export class Jobs {
  readonly #calls: Calls

  constructor(calls: Calls) {
    this.#calls = calls
  }

  /**
   * One page, newest first. What a page costs is bounded whatever the history, so it may be short, even empty, and carry a
   * cursor all the same. A job that is there the whole time is on exactly one of the pages.
   *
   * @throws {MillraceError} `invalid_request`: a filter, limit or cursor that is none
   */
  list(filter?: JobFilter, options?: ListOptions & { readonly full?: false | undefined }): Promise<Page<JobRow>>
  list(filter: JobFilter | undefined, options: ListOptions & { readonly full: true }): Promise<Page<JobView>>
  async list(filter: JobFilter = {}, { limit, cursor, full }: ListOptions = {}): Promise<Page<JobRow | JobView>> {
    const params = [filterJson(filter), cursor ?? null, limit ?? null, full ?? false]
    const call = 'list_jobs($1::text::jsonb, $2::text, $3::text::int, $4::text::boolean)'
    return (await this.#calls.json(call, params)) as Page<JobRow | JobView>
  }

  /** One job with its attempts; undefined when there is none (any more). */
  async get(id: Id): Promise<JobDetail | undefined> {
    return this.#calls.json('job_detail($1::text::bigint)', [checkId(id)])
  }

  /** Retries failed and cancelled jobs at once, with all of the kind's attempts before them; waiting ones run now. */
  async retry(ids: readonly Id[]): Promise<Retried[]> {
    return this.#calls.rows('retry($1::text::bigint[], $2::text)', [idsLiteral(ids), this.#calls.by])
  }

  /** Cancels jobs that have not ended, running ones too. Ids of no job are not in the answer. */
  async cancel(ids: readonly Id[], reason?: string): Promise<Cancelled[]> {
    const call = `cancel($1::text::bigint[], $2::text, ${SOMEBODY})`
    return this.#calls.rows(call, [idsLiteral(ids), reason ?? null, this.#calls.by])
  }

  /** Cancels the job that took a unique key last. Undefined: no job is known to have it. */
  async cancelByKey(uniqueKey: string, reason?: string): Promise<Cancelled | undefined> {
    const call = `cancel_by_key($1::text, $2::text, ${SOMEBODY})`
    const [job] = await this.#calls.rows<Cancelled>(call, [uniqueKey, reason ?? null, this.#calls.by])
    return job
  }

  /**
   * Moves jobs that wait into another queue or priority; running and ended ones are left as they are.
   *
   * @throws {MillraceError} `invalid_queue`, `invalid_priority`
   */
  async move(ids: readonly Id[], { queue, priority }: Lane): Promise<Moved[]> {
    const call = 'move($1::text::bigint[], $2::text, $3::text::int, $4::text)'
    return this.#calls.rows(call, [idsLiteral(ids), queue ?? null, priority ?? null, this.#calls.by])
  }

  /** Those of the jobs that are there and a tenant's (`metadata.tenant`). */
  async ofTenant(tenant: string, ids: readonly Id[]): Promise<number[]> {
    const call = 'jobs_of_tenant($1::text::bigint[], $2::text)'
    return (await this.#calls.value<number[]>(call, [idsLiteral(ids), tenant])) ?? []
  }
}
