// What a maintenance process tells of its work, for logs, metrics and tests.

import type { Closed } from '../engine.ts'

export type MaintenanceEvent =
  | { readonly type: 'claimed'; readonly jobs: number }
  | { readonly type: 'dispatched'; readonly job: string; readonly kind: string; readonly attempt: number }
  /** A function accepted the attempt, or may have (`code` tells why that is not certain). */
  | {
      readonly type: 'parked'
      readonly job: string
      readonly kind: string
      readonly attempt: number
      readonly code?: string
    }
  /** The attempt stays open until the event of that name comes. */
  | {
      readonly type: 'waiting'
      readonly job: string
      readonly kind: string
      readonly attempt: number
      readonly name: string
    }
  /** The attempt has this end on record; `fresh` is false when somebody else had closed it before. */
  | {
      readonly type: 'closed'
      readonly job: string
      readonly kind: string
      readonly attempt: number
      readonly state: Closed['state']
      readonly fresh: boolean
      readonly code?: string
      readonly message?: string
    }
  | { readonly type: 'throttled'; readonly origin: string; readonly pauseMs: number }
  | { readonly type: 'promoted'; readonly jobs: number }
  /** A schedule came due; `skipped` of its occurrences became no job because an earlier one's was open. */
  | { readonly type: 'fired'; readonly schedule: string; readonly jobs: number; readonly skipped: number }
  /** `stuck` attempts could not be closed; the database's log says why. They are tried again in a minute. */
  | { readonly type: 'rescued'; readonly parked: number; readonly lost: number; readonly stuck: number }
  | { readonly type: 'asleep' | 'awake' }
  /** How long there was nothing to do, and how many statements that took. */
  | { readonly type: 'slept'; readonly seconds: number; readonly statements: number }
  /** This process is the leader from here on, or is it no longer although it did not resign. */
  | { readonly type: 'leading' | 'deposed'; readonly epoch: string }
  | { readonly type: 'rotated'; readonly segment: string }
  | {
      readonly type: 'pruned'
      readonly segment: number | null
      readonly carried: number
      readonly archived: number
    }
  /** Unclaimed jobs of a segment whose time is over were moved into the newest one. */
  | { readonly type: 'forwarded'; readonly segment: number; readonly jobs: number }
  /** A transaction uses the segment whose time is over; disk grows until it ends. */
  | { readonly type: 'prune_put_off'; readonly message: string }
  | { readonly type: 'expired'; readonly jobs: number }
  /** A bulk operation is done. */
  | { readonly type: 'batch'; readonly batch: number; readonly changed: number; readonly refused: number }
  /** A webhook endpoint gets nothing more: it answered 410, or nothing has got through for too long. */
  | { readonly type: 'endpoint_disabled'; readonly endpoint: string; readonly reason: 'gone' | 'failing' }
  /** Changed declarations of kinds and subscriptions were read, and hold from here on. */
  | { readonly type: 'reloaded' }
  /** Something failed and is tried again. */
  | { readonly type: 'error'; readonly during: string; readonly error: unknown }

export type OnEvent = (event: MaintenanceEvent) => void
