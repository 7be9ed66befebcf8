// The public entry point `millrace`: declare kinds, enqueue them, sync the declarations.

export { type BlobStore, type ClaimCheckOptions, claimCheck } from './claim-check.ts'
export {
  type CancelByKeyOptions,
  type Cancelled,
  type CancelOptions,
  type Client,
  type ClientOptions,
  cancel,
  cancelByKey,
  createClient,
  type Enqueued,
  enqueue,
  enqueueMany,
  enqueueManyStatement,
  enqueueStatement,
  enqueueUnique,
} from './client.ts'
export { decodePayloads, type PayloadCodec, type PayloadContext } from './codec.ts'
export { type Database, type DriverOptions, type PostgresJsLike, type QueryLike, toSql } from './drivers.ts'
export { encryptedPayloads } from './encrypted-payloads.ts'
export type { JobView } from './engine-rows.ts'
export { type EnqueueOptions, type Job, job } from './enqueue.ts'
export type { Statement } from './enqueue-statement.ts'
export { type ErrorCode, MillraceError } from './errors.ts'
export { type FollowUp, type FollowUpJob, from, type JobEvent, type Reference } from './follow-up.ts'
export type { Json } from './json.ts'
export {
  type ArgsOf,
  defineKind,
  type HttpTarget,
  type Kind,
  type KindOptions,
  type LambdaTarget,
  type ParsedArgsOf,
  type RetryPolicy,
  type Target,
} from './kind.ts'
export type { LambdaFunction } from './lambda-target.ts'
export {
  defineManifest,
  type Manifest,
  type ManifestDeclaration,
  type SyncOptions,
  type SyncResult,
  syncManifest,
} from './manifest.ts'
export { defineQueue, type Queue, type Rate, type Retention } from './queue-declaration.ts'
export type { MissedPolicy } from './schedule.ts'
export {
  defineSchedule,
  type Schedule,
  type ScheduleDeclaration,
  type ScheduleOptions,
} from './schedule-declaration.ts'
export { type EventAnswer, type SendEventOptions, sendEvent } from './send-event.ts'
export type { Sql, SqlValue } from './sql.ts'
export type { FollowUpSubscription, Subscription, WebhookSubscription } from './subscription.ts'
export { type SecretReference, secret, type TargetAuth } from './target-auth.ts'
export type { Spacing, UniqueBy, UniqueOptions, UniqueSettings } from './unique.ts'
export { type UniqueKeyParts, uniqueKey } from './unique-key.ts'
export { type FinishedJob, type GetJobOptions, getJob, type WaitOptions, waitFor } from './wait-for.ts'
export type { EventAction, JobState } from './wire.ts'
