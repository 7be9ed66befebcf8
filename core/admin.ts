// Public entry `millrace/admin`: lists, dead letters, bulk operations, schedules and runtimes, for operators.

export { type Admin, type AdminOptions, admin } from './admin/admin.ts'
export type { ApiKeyView, ApiKeyWithSecret, NewApiKey } from './admin/api-keys.ts'
export type { AuditEntry, AuditFilter } from './admin/audit.ts'
export type {
  Batch,
  BatchFilter,
  BatchListOptions,
  BatchOperation,
  BatchPreview,
  BatchState,
} from './admin/batches.ts'
export type { Page, PageOptions } from './admin/calls.ts'
export type {
  BulkDeadLetterFilter,
  DeadLetter,
  DeadLetterDepth,
  DeadLetterFilter,
  DeadLetterRow,
  DeadLettersRetried,
} from './admin/dead-letters.ts'
export type {
  DeliveryFilter,
  DeliveryView,
  Redelivered,
  RedeliveredSome,
  RedeliverOptions,
} from './admin/deliveries.ts'
export type {
  EndpointChanges,
  EndpointFilter,
  EndpointView,
  EndpointWithSecret,
  NewEndpoint,
  SecretOptions,
} from './admin/endpoints.ts'
export type { FollowUpProblem, FollowUpProblemFilter, JobFollowUpProblem } from './admin/follow-ups.ts'
export type { JobFilter } from './admin/job-filter.ts'
export type {
  AttemptView,
  Cancelled,
  JobDetail,
  JobRow,
  Lane,
  ListOptions,
  Moved,
  MoveProblem,
  Retried,
  RetryProblem,
} from './admin/jobs.ts'
export type { LeaderView, RuntimeView } from './admin/runtimes.ts'
export type { Counts, KindStats, QueueStats } from './admin/stats.ts'
export type { Id } from './job-id.ts'
export type { ScheduleView } from './schedule-engine.ts'
