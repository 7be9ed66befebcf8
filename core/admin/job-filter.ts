// Which jobs: the filter of lists and batches, and how it travels.

import { checkId, type Id } from '../job-id.ts'
import type { JobState } from '../wire.ts'

/** All that is given must hold. */
export interface JobFilter {
  /** One, or any of many. */
  readonly state?: JobState | readonly JobState[] | undefined
  readonly kind?: string | undefined
  readonly queue?: string | undefined
  /** The job has this tag. */
  readonly tag?: string | undefined
  /** `metadata.tenant`. */
  readonly tenant?: string | undefined
  /** At most 10,000. */
  readonly ids?: readonly Id[] | undefined
  /** The one job that holds this unique key, or held it last. */
  readonly uniqueKey?: string | undefined
  /** At or after. */
  readonly enqueuedAfter?: Date | string | undefined
  /** Before. */
  readonly enqueuedBefore?: Date | string | undefined
}

/** A filter in the database's names. @throws {MillraceError} `invalid_request` for an id that is none */
export const filterJson = ({ uniqueKey, enqueuedAfter, enqueuedBefore, ids, ...same }: JobFilter): string =>
  JSON.stringify({
    ...same,
    ids: ids?.map(checkId),
    unique_key: uniqueKey,
    enqueued_after: enqueuedAfter,
    enqueued_before: enqueuedBefore,
  })
