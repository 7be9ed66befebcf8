// Follow-ups that could not be enqueued, for operators.

import type { JobEvent } from '../follow-up.ts'
import { checkId, type Id } from '../job-id.ts'
import type { Calls, Page, PageOptions } from './calls.ts'

/** Why a job was not followed by what was declared. Times are ISO 8601. */
export interface JobFollowUpProblem {
  readonly at: string
  /** The declared name: a subscription's, or `<kind>#1` for a kind's first follow-up. */
  readonly follow_up: string
  readonly event: JobEvent
  readonly attempt: number
  /** `missing_path`, a code of `enqueue` (`payload_too_large` ...), or a SQLSTATE. */
  readonly code: string
  readonly message: string
}

/** The same in a list of all jobs' problems. */
export interface FollowUpProblem extends JobFollowUpProblem {
  readonly id: number
  readonly job: number
}

/** All that is given must hold. */
export interface FollowUpProblemFilter {
  readonly job?: Id | undefined
  readonly followUp?: string | undefined
}

export class FollowUps {
  readonly #calls: Calls

  constructor(calls: Calls) {
    this.#calls = calls
  }

  /** One page, latest first; they are kept for 30 days. @throws {MillraceError} `invalid_request` */
  async problems(
    { job, followUp }: FollowUpProblemFilter = {},
    { limit, cursor }: PageOptions = {},
  ): Promise<Page<FollowUpProblem>> {
    const filter = JSON.stringify({ job: job === undefined ? undefined : checkId(job), follow_up: followUp })
    const call = 'list_follow_up_problems($1::text::jsonb, $2::text, $3::text::int)'
    return (await this.#calls.value(call, [filter, cursor ?? null, limit ?? null])) as Page<FollowUpProblem>
  }
}
