// The parts that requests and answers of several routes share.

import type { BatchFilter } from '../admin/batches.ts'
import type { JobState } from '../wire.ts'
import {
  boolean,
  closed,
  integer,
  list,
  named,
  nullable,
  object,
  oneOf,
  type Schema,
  string,
  type TypeOf,
  time,
} from './schema.ts'

/** At most 1 000 in one request; batches are for more. */
export const MAX_IDS = 1_000

export const id: Schema<number> = integer()

/** An id in a path or a query, where everything is text. */
export const idText = string({ pattern: '^[0-9]{1,18}$', description: 'An id' })

/** An id in a body: a number, or the same as text. */
const idGiven = { type: ['integer', 'string'], minimum: 0, pattern: '^[0-9]{1,18}$' } as Schema<number | string>

export const ids = list(idGiven, { minItems: 1, maxItems: MAX_IDS })

export const jobState: Schema<JobState> = oneOf([
  ...(['scheduled', 'available', 'running', 'waiting_external', 'retryable'] as const),
  ...(['completed', 'failed', 'cancelled'] as const),
])

export const name = string({ minLength: 1, maxLength: 200 })
export const queueName = string({ minLength: 1, maxLength: 200, 'x-code': 'invalid_queue' })
export const priority = integer({ minimum: 1, maximum: 4, description: '1 is first', 'x-code': 'invalid_priority' })

/** Where to, as far as it changes. */
export const lane = { queue: queueName, priority }

/** Who asks, for the record. */
export const by = string({ maxLength: 200, description: 'Who asks, for the record' })

export const byBody = closed({}, { by })

export const paging = {
  limit: integer({ minimum: 1, maximum: 1_000, description: '100 unless given' }),
  cursor: string({ maxLength: 100, description: 'Of the page before' }),
}

/** One page of a list. */
export const page = <T>(item: Schema<T>) =>
  object({
    items: list(item),
    cursor: nullable(
      string({
        description:
          'For the next page, which may be there even if this one is short or empty; null: this was the last',
      }),
    ),
  })

export const jobError = named(
  'JobError',
  object({ attempt: integer(), at: time }, { code: string(), message: string(), retried: boolean() }),
)

/** What jobs and dead letters have in common. */
export const jobHead = {
  id,
  kind: string(),
  queue: string(),
  priority: integer(),
  attempt: integer(),
  max_attempts: integer(),
  tags: list(string()),
  unique_key: nullable(string()),
  enqueued_at: time,
}

export const jobFilter = {
  state: list(jobState),
  kind: string({ maxLength: 200 }),
  queue: string({ maxLength: 200 }),
  tag: string({ maxLength: 4_000 }),
  unique_key: string({ maxLength: 200 }),
  tenant: string({ maxLength: 200, description: 'metadata.tenant' }),
  enqueued_after: string({ format: 'date-time', description: 'At or after' }),
  enqueued_before: string({ format: 'date-time', description: 'Before' }),
}

export const all = boolean({ description: 'Says that an empty filter is meant' })

/** For what changes many. */
export const bulkFilter = closed({}, { ...jobFilter, ids, all })

/** The database's names as the admin module's. */
export const jobFilterOf = ({
  unique_key: uniqueKey,
  enqueued_after: enqueuedAfter,
  enqueued_before: enqueuedBefore,
  ...same
}: TypeOf<typeof bulkFilter>): BatchFilter => ({ ...same, uniqueKey, enqueuedAfter, enqueuedBefore })
