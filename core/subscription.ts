// A completion webhook as an application declares it: which jobs' ends go where, signed with which secret.

import { checkName, checkUrl, refuse } from './declaration.ts'
import type { Kind } from './kind.ts'

/** A job's end that can be subscribed to. */
export type CompletionEvent = 'completed' | 'failed' | 'cancelled'

export interface Subscription {
  /** 1 to 200 characters, unique in the manifest. */
  readonly name: string
  /** Every kind, unless given. */
  readonly kinds?: readonly (Kind | string)[]
  /** All three, unless given. */
  readonly events?: readonly CompletionEvent[]
  /** Absolute `http(s)` URL that takes the webhook as a POST. */
  readonly url: string
  /**
   * `whsec_` and 24 to 64 bytes in base64, as
   * [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md)
   * asks for.
   */
  readonly secret: string
}

export const COMPLETION_EVENTS: readonly CompletionEvent[] = ['completed', 'failed', 'cancelled']

const PREFIX = 'whsec_'
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** @throws {MillraceError} `invalid_declaration`, which never quotes the secret */
export function checkSubscription(subscription: Subscription): void {
  checkName('subscription', subscription.name)
  const where = `Subscription "${subscription.name}"`
  checkUrl(where, subscription.url)
  for (const event of subscription.events ?? []) {
    if (!COMPLETION_EVENTS.includes(event)) refuse(where, `no such event: ${event}`)
  }
  if (subscription.events?.length === 0) refuse(where, 'events is empty: leave it out for all of them')
  if (subscription.kinds?.length === 0) refuse(where, 'kinds is empty: leave it out for all of them')
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
