// Everything an operator does, in one object: over any driver, on any runtime.

import { type Database, toSql } from '../drivers.ts'
import { type Keyring, parseKeyring } from '../protocol/keyring.ts'
import { ScheduleEngine } from '../schedule-engine.ts'
import { type AllowedTargets, targetGuard } from '../target-guard.ts'
import { ApiKeys } from './api-keys.ts'
import { Audit } from './audit.ts'
import { Batches } from './batches.ts'
import { Calls } from './calls.ts'
import { DeadLetters } from './dead-letters.ts'
import { Deliveries } from './deliveries.ts'
import { Endpoints } from './endpoints.ts'
import { FollowUps } from './follow-ups.ts'
import { Jobs } from './jobs.ts'
import { Kinds } from './kinds.ts'
import { Queues } from './queues.ts'
import { Runtimes } from './runtimes.ts'

export interface AdminOptions {
  /** The schema that `millrace migrate` was told to use: `millrace`. */
  readonly schema?: string | undefined
  /** What `millrace keys sealing` prints: webhook secrets are sealed with it on their way into the database. */
  readonly sealingKeys?: Keyring | string | undefined
  /** With it, be it empty, webhook URLs are refused that show where nothing is sent unless it is allowed: as `allow` of dispatchers. */
  readonly allowTargets?: AllowedTargets | undefined
  /** Who asks, for the audit log: the user of the database, unless given. */
  readonly by?: string | undefined
  /** Jobs and dead letters with exact numbers, as `exact` of `getJob` has it. */
  readonly exact?: boolean | undefined
}

export interface Admin {
  readonly jobs: Jobs
  readonly deadLetters: DeadLetters
  readonly batches: Batches
  readonly followUps: FollowUps
  readonly endpoints: Endpoints
  readonly deliveries: Deliveries
  readonly queues: Queues
  readonly kinds: Kinds
  readonly schedules: ScheduleEngine
  readonly runtimes: Runtimes
  readonly apiKeys: ApiKeys
  readonly audit: Audit
}

/**
 * The admin module on a connection, pool or transaction. Every method is one statement, unless it says otherwise.
 *
 * @throws {MillraceError} `unsupported_driver`, `invalid_keyring`, `invalid_configuration`
 * @example
 * const { jobs, deadLetters } = admin(sql)
 * for (const job of (await jobs.list({ state: 'failed', queue: 'mails' })).items) console.log(job.id, job.error?.message)
 * await deadLetters.retry({ queue: 'mails', reason: 'max_attempts_exhausted' })
 */
export function admin(database: Database, { schema, sealingKeys, allowTargets, by, exact }: AdminOptions = {}): Admin {
  const calls = new Calls(database, schema, by, exact)
  const endpointRules = {
    sealingKeys: typeof sealingKeys === 'string' ? parseKeyring(sealingKeys) : sealingKeys,
    guard: allowTargets && targetGuard(allowTargets),
  }
  return {
    jobs: new Jobs(calls),
    deadLetters: new DeadLetters(calls),
    batches: new Batches(calls),
    followUps: new FollowUps(calls),
    endpoints: new Endpoints(calls, endpointRules),
    deliveries: new Deliveries(calls),
    queues: new Queues(calls),
    kinds: new Kinds(calls),
    schedules: new ScheduleEngine(toSql(database), { schema, by }),
    runtimes: new Runtimes(calls),
    apiKeys: new ApiKeys(calls),
    audit: new Audit(calls),
  }
}
