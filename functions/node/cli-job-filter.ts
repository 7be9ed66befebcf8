// The options that say which jobs, and what a job looks like in a list.

import type { JobFilter } from '../../core/admin/job-filter.ts'
import type { JobRow } from '../../core/admin/jobs.ts'
import type { JobState } from '../../core/wire.ts'
import { ids, instant } from './cli-admin.ts'
import { type Options, UsageError, type ValuesOf } from './cli-command.ts'
import { type Column, moment } from './cli-table.ts'

const STATES: readonly JobState[] = [
  'scheduled',
  'available',
  'running',
  'waiting_external',
  'retryable',
  'completed',
  'failed',
  'cancelled',
]

export const jobFilterOptions = {
  state: { type: 'string', multiple: true, value: 'STATE', help: `any of those given: ${STATES.join(', ')}` },
  kind: { type: 'string', value: 'KIND', help: 'of this kind' },
  queue: { type: 'string', value: 'QUEUE', help: 'in this queue' },
  tag: { type: 'string', value: 'TAG', help: 'with this tag' },
  tenant: { type: 'string', value: 'TENANT', help: 'of this tenant (metadata.tenant)' },
  id: { type: 'string', multiple: true, value: 'ID', help: 'any of those given' },
  'unique-key': { type: 'string', value: 'KEY', help: 'which holds this unique key, or held it last' },
  since: { type: 'string', value: 'TIME', help: 'enqueued at or after: ISO 8601, or how long ago, such as 2h' },
  until: { type: 'string', value: 'TIME', help: 'enqueued before' },
} as const satisfies Options

/** @throws {UsageError} */
export function jobFilter(values: ValuesOf<typeof jobFilterOptions>): JobFilter {
  return {
    state: values.state?.map(state),
    kind: values.kind,
    queue: values.queue,
    tag: values.tag,
    tenant: values.tenant,
    ids: values.id && ids(values.id),
    uniqueKey: values['unique-key'],
    enqueuedAfter: instant('since', values.since),
    enqueuedBefore: instant('until', values.until),
  }
}

function state(text: string): JobState {
  const found = STATES.find(known => known === text)
  if (found) return found
  throw new UsageError(`--state takes one of ${STATES.join(', ')}, not "${text}"`)
}

export const jobColumns: readonly Column<JobRow>[] = [
  { title: 'ID', of: job => job.id, right: true },
  { title: 'STATE', of: job => job.state },
  { title: 'KIND', of: job => job.kind, shrinks: true },
  { title: 'QUEUE', of: job => job.queue, shrinks: true },
  { title: 'PRIORITY', of: job => job.priority, right: true },
  { title: 'ATTEMPT', of: job => `${job.attempt}/${job.max_attempts}`, right: true },
  { title: 'ENQUEUED', of: job => moment(job.enqueued_at) },
  { title: 'ENDED', of: job => moment(job.finished_at) },
  { title: 'ERROR', of: job => errorText(job.error), shrinks: true },
]

export const errorText = (error: { readonly code?: string; readonly message?: string } | null): string =>
  [error?.code, error?.message].filter(Boolean).join(': ')
