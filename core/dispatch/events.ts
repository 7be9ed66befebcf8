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
  | { readonly type: 'rescued'; readonly parked: number; readonly lost: number }
  | { readonly type: 'asleep' | 'awake' }
  /** Changed declarations of kinds and subscriptions were read, and hold from here on. */
  | { readonly type: 'reloaded' }
  /** Something failed and is tried again. */
  | { readonly type: 'error'; readonly during: string; readonly error: unknown }

export type OnEvent = (event: MaintenanceEvent) => void
