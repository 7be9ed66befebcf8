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
   * asks for.
   */
  readonly secret: string
}

export const COMPLETION_EVENTS: readonly JobEvent[] = ['completed', 'failed', 'cancelled']

const PREFIX = 'whsec_'
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

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
  const bytes = secretBytes(subscription.secret)
  if (!(bytes >= 24 && bytes <= 64)) refuse(where, 'secret is whsec_ and 24 to 64 bytes in base64')
}

/** Names of the kinds, without repetition; null for all. */
export const kindNames = ({ kinds }: Subscription): string[] | null =>
  kinds === undefined ? null : [...new Set(kinds.map(kind => (typeof kind === 'string' ? kind : kind.name)))]

function secretBytes(secret: string): number {
  const encoded = secret.slice(PREFIX.length)
  return secret.startsWith(PREFIX) && BASE64.test(encoded) ? atob(encoded).length : 0
}
