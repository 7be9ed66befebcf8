// The manifest: everything an application declares, synced into the database as one versioned whole.

import { translatingErrors } from './database-errors.ts'
import { checkKind, refuse } from './declaration.ts'
import { type Database, toSql } from './drivers.ts'
import { checkFollowUps, type FollowUpRow, followUpsOf } from './follow-up-declaration.ts'
import type { Kind } from './kind.ts'
import type { RetryPolicy, Target } from './kind-options.ts'
import { type Keyring, parseKeyring } from './protocol/keyring.ts'
import { seal } from './protocol/sealing.ts'
import { checkQueue, type Queue, queueRow } from './queue-declaration.ts'
import { checkArgsAsync, checkSchedule, type Schedule, scheduleRow } from './schedule-declaration.ts'
import { quoteIdentifier } from './sql.ts'
import {
  checkSubscription,
  isFollowUp,
  isWebhook,
  type Subscription,
  subscriptionFollowUp,
  webhookRow,
} from './subscription.ts'

export interface ManifestDeclaration {
  readonly kinds?: readonly Kind[]
  readonly subscriptions?: readonly Subscription[]
  readonly schedules?: readonly Schedule[]
  readonly queues?: readonly Queue[]
}

export type Manifest = Required<ManifestDeclaration>

export interface SyncOptions {
  /**
   * Which application this is (`default`), when several share one installation: a sync replaces what the same source
   * declared before and leaves the others' alone.
   */
  readonly source?: string | undefined
  /** The schema that `millrace migrate` was told to use: `millrace`. */
  readonly schema?: string | undefined
  /**
   * What `millrace keys sealing` prints, or a keyring made by `deriveSealingKeyring`: webhook secrets are sealed with it, and stand
   * in the database in a form that dispatchers alone can read. Without it they stand there as they are.
   */
  readonly sealingKeys?: Keyring | string | undefined
  /** Who deploys, for the audit log: the user of the database, unless given. */
  readonly by?: string | undefined
}

export interface SyncResult {
  /** Of the manifest on record; counts up with every change, of any source. */
  readonly version: number
  /** False when the database held exactly this already, and nothing was written. */
  readonly changed: boolean
  /** Names of the kinds, subscriptions, schedules, queues and follow-ups that this source declared before and no longer does. */
  readonly removed: readonly string[]
}

/**
 * Puts declarations together and checks them.
 *
 * @throws {MillraceError} `invalid_declaration`, `invalid_args` (a schedule's)
 * @example
 * export const manifest = defineManifest({
 *   kinds: [renderReceipt],
 *   schedules: [nightly],
 *   subscriptions: [{ name: 'shop', kinds: [renderReceipt], url: 'https://shop.example.com/hooks', secret }],
 * })
 */
export function defineManifest(declaration: ManifestDeclaration): Manifest {
  const { kinds = [], subscriptions = [], schedules = [], queues = [] } = declaration
  kinds.forEach(checkKind)
  kinds.forEach(checkFollowUps)
  subscriptions.forEach(checkSubscription)
  schedules.forEach(checkSchedule)
  queues.forEach(checkQueue)
  const manifest = Object.freeze({ kinds, subscriptions, schedules, queues })
  for (const [what, declared] of Object.entries(manifest)) checkUnique(what, declared)
  checkUnique('follow-ups', followUpRows(manifest))
  return manifest
}

/**
 * Writes the manifest into the database, in one statement: do it at deploy and at start-up. Enqueuers in plain SQL,
 * dispatchers and the callback ingress read what it wrote.
 *
 * @throws {MillraceError} `schema_missing`, `invalid_declaration`, `invalid_args` (a schedule's), `invalid_keyring`,
 * `unsupported_driver`
 */
export async function syncManifest(db: Database, manifest: Manifest, options: SyncOptions = {}): Promise<SyncResult> {
  const { source = 'default', schema = 'millrace' } = options
  const sql = toSql(db)
  await Promise.all(manifest.schedules.map(checkArgsAsync))
  const text = `select ${quoteIdentifier(schema)}.sync_manifest($1::text::jsonb, $2::text, $3::text)::text as result`
  const keys = typeof options.sealingKeys === 'string' ? parseKeyring(options.sealingKeys) : options.sealingKeys
  const params = [JSON.stringify(await manifestRow(manifest, keys)), source, options.by ?? null]
  const rows = await translatingErrors(() => sql.query<{ result: string }>(text, params))
  return JSON.parse((rows[0] as { result: string }).result) as SyncResult
}

/** The manifest in the database's names. What is not given is left out: the database knows the defaults. */
async function manifestRow(
  { kinds, subscriptions, schedules, queues }: Manifest,
  sealingKeys: Keyring | undefined,
): Promise<object> {
  return {
    kinds: kinds.map(kind => ({
      name: kind.name,
      queue: kind.queue,
      priority: kind.priority,
      max_attempts: kind.maxAttempts,
      time_limit_seconds: kind.timeLimitSeconds,
      retry: kind.retry && retryRow(kind.retry),
      target: kind.target && targetRow(kind.target),
    })),
    subscriptions: await Promise.all(
      subscriptions
        .filter(isWebhook)
        .map(async one => webhookRow(one, sealingKeys ? await seal(sealingKeys, one.name, one.secret) : one.secret)),
    ),
    schedules: schedules.map(scheduleRow),
    queues: queues.map(queueRow),
    follow_ups: followUpRows({ kinds, subscriptions }),
  }
}

const followUpRows = ({ kinds, subscriptions }: Pick<Manifest, 'kinds' | 'subscriptions'>): FollowUpRow[] => [
  ...kinds.flatMap(followUpsOf),
  ...subscriptions.filter(isFollowUp).map(subscriptionFollowUp),
]

function retryRow(retry: RetryPolicy): object {
  return {
    strategy: retry.strategy,
    base_seconds: 'baseSeconds' in retry ? retry.baseSeconds : undefined,
    cap_seconds: 'capSeconds' in retry ? retry.capSeconds : undefined,
    delays_seconds: 'delaysSeconds' in retry ? retry.delaysSeconds : undefined,
    jitter: retry.jitter,
  }
}

const targetRow = (target: Target): object => ({
  url: target.url,
  lambda: target.lambda,
  mode: target.mode,
  request_timeout_seconds: target.requestTimeoutSeconds,
  callback_timeout_seconds: target.callbackTimeoutSeconds,
  concurrency: target.concurrency,
  compatible: target.compatible,
  headers: target.headers,
  auth: target.auth,
  statuses: target.statuses,
})

function checkUnique(what: string, declared: readonly { readonly name: string }[]): void {
  const names = declared.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) refuse(`Manifest: ${what}`, `"${twice}" is declared twice`)
}
