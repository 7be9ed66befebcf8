// A subscription as an application declares it: what happens to which jobs goes to a webhook, or makes another job follow.

import { checkName, checkUrl, refuse } from './declaration.ts'
import type { FollowUpJob, JobEvent } from './follow-up.ts'
import { checkEvents, checkFollowUpJob, type FollowUpRow, followUpJobRow } from './follow-up-declaration.ts'
import type { Kind } from './kind.ts'

export type Subscription = WebhookSubscription | FollowUpSubscription

interface Subscribed {
  /** 1 to 200 characters, unique in the manifest. */
  readonly name: string
  /** Every kind, unless given. */
  readonly kinds?: readonly (Kind | string)[]
}

/**
 * Enqueues a job for each event, as a kind's `followUps` do. Without `kinds` it leaves out jobs that are follow-ups themselves,
 * or it would go on for ever.
 */
export interface FollowUpSubscription extends Subscribed, FollowUpJob {
  readonly events: readonly JobEvent[]
}

/** Sends a webhook for each event. */
export interface WebhookSubscription extends Subscribed {
  /** The ends (`completed`, `failed`, `cancelled`), unless given. */
  readonly events?: readonly JobEvent[]
  /** Absolute `http(s)` URL that takes the webhook as a POST. */
  readonly url: string
  /**
   * `whsec_` and 24 to 64 bytes in base64, as
   * [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md)
   * asks for; or `whsk_` and an Ed25519 key (`generateWebhookKeyPair`). One that was declared before signs along for a while.
   */
  readonly secret: string
  /** For how many seconds that is: a day, unless given. */
  readonly graceSeconds?: number
  /** Only jobs of this tenant (`metadata.tenant`) are told of; of every one, unless given. */
  readonly tenant?: string
  /** At most 1000 characters, for people. */
  readonly description?: string
}

const COMPLETION_EVENTS: readonly JobEvent[] = ['completed', 'failed', 'cancelled']

/** How many bytes may follow a secret's prefix. */
const SECRETS: Readonly<Record<string, (bytes: number) => boolean>> = {
  whsec_: bytes => bytes >= 24 && bytes <= 64,
  whsk_: bytes => bytes === 32 || bytes === 64,
}
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

const LONGEST_GRACE_SECONDS = 365 * 24 * 60 * 60

/** @throws {MillraceError} `invalid_declaration`, which never quotes the secret */
export function checkSubscription(subscription: Subscription): void {
  checkName('subscription', subscription.name)
  const where = `Subscription "${subscription.name}"`
  checkEvents(where, subscription.events ?? [])
  if (subscription.kinds?.length === 0) refuse(where, 'kinds is empty: leave it out for all of them')
  if (isFollowUp(subscription)) checkFollowUp(where, subscription)
  else checkWebhook(where, subscription)
}

export const isFollowUp = (subscription: Subscription): subscription is FollowUpSubscription =>
  'enqueue' in subscription

export const isWebhook = (subscription: Subscription): subscription is WebhookSubscription => !isFollowUp(subscription)

export const subscriptionFollowUp = (subscription: FollowUpSubscription): FollowUpRow => ({
  name: subscription.name,
  kinds: kindNames(subscription),
  events: subscription.events,
  job: followUpJobRow(subscription),
})

function checkFollowUp(where: string, subscription: FollowUpSubscription): void {
  if ('url' in subscription) refuse(where, 'has a url or enqueues something, not both')
  if (!subscription.events || subscription.events.length === 0) refuse(where, 'events is empty')
  checkFollowUpJob(where, subscription)
}

function checkWebhook(where: string, subscription: WebhookSubscription): void {
  checkUrl(where, subscription.url)
  if (subscription.events?.length === 0) refuse(where, 'events is empty: leave it out for the ends')
  if (!isSecret(subscription.secret))
    refuse(where, 'secret is whsec_ and 24 to 64 bytes in base64, or whsk_ and 32 or 64')
  const { graceSeconds = 0, tenant = 'any', description = '' } = subscription
  if (!(graceSeconds >= 0 && graceSeconds <= LONGEST_GRACE_SECONDS)) refuse(where, 'graceSeconds is 0 to 31536000')
  if (typeof tenant !== 'string' || tenant === '' || tenant.length > 200)
    refuse(where, 'tenant has 1 to 200 characters')
  if (description.length > 1_000) refuse(where, 'description has at most 1000 characters')
}

/** Names of the kinds, without repetition; null for all. */
const kindNames = ({ kinds }: Subscription): string[] | null =>
  kinds === undefined ? null : [...new Set(kinds.map(kind => (typeof kind === 'string' ? kind : kind.name)))]

/** A webhook in the database's names; what signs may show in its secret only, which may be sealed. */
export const webhookRow = (subscription: WebhookSubscription, secret: string): object => ({
  name: subscription.name,
  kinds: kindNames(subscription),
  events: subscription.events ?? COMPLETION_EVENTS,
  url: subscription.url,
  tenant: subscription.tenant,
  description: subscription.description,
  secret,
  signature: subscription.secret.startsWith('whsk_') ? 'v1a' : undefined,
  grace_seconds: subscription.graceSeconds,
})

function isSecret(secret: string): boolean {
  const [prefix = ''] = /^[a-z]+_/.exec(secret) ?? []
  const encoded = secret.slice(prefix.length)
  return BASE64.test(encoded) && (SECRETS[prefix]?.(atob(encoded).length) ?? false)
}
