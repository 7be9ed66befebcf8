// All there is to audit.

import type { Entry } from './journal.ts'
import type { Progress } from './progress.ts'
import type { Sent } from './sender.ts'

export interface Evidence {
  /** Tokens of jobs whose commit was confirmed, or that were rolled back. */
  readonly confirmed: ReadonlySet<number>
  readonly withdrawn: ReadonlySet<number>
  /** What was committed. */
  readonly enqueued: readonly { readonly token: number; readonly job: string; readonly kind: string }[]
  /** Every job there has been, with its last attempt. */
  readonly entered: readonly Entered[]
  /** Every attempt, each job's in order. */
  readonly attempts: readonly Attempt[]
  /** Every end that was recorded, in their order. */
  readonly outcomes: readonly Outcome[]
  readonly journal: readonly Entry[]
  /** Jobs that the operator has cancelled, and has given another life, once for each time. */
  readonly cancelled: readonly string[]
  readonly retried: readonly string[]
  /** Attempts with a unique key, in the order in which they began. */
  readonly holds: readonly Hold[]
  /** How many segments were opened since the first, and how many were emptied. */
  readonly segments: { readonly opened: number; readonly pruned: number }
  /** What the engine says of the jobs it still knows. */
  readonly states: ReadonlyMap<string, string>
  /** Follow-ups that could not be enqueued. */
  readonly problems: readonly Problem[]
  readonly waited: readonly Waited[]
  /** All that was sent to jobs that wait. */
  readonly sent: readonly Sent[]
  readonly kept: readonly Kept[]
  /** Jobs that became dead letters. */
  readonly buried: ReadonlySet<string>
}

interface Entered {
  readonly job: string
  readonly attempt: number
  readonly kind: string
  /** For which second it was scheduled, if it was. */
  readonly occasion: string | null
  /** Its unique key, if it has any. */
  readonly key: string | null
}

interface AttemptRef {
  readonly job: string
  readonly attempt: number
}

export interface Attempt extends AttemptRef {
  readonly kind: string
  readonly tenant: string | null
  /** Of a follow-up: what it follows. */
  readonly follows: {
    readonly job_id: number
    readonly attempt: number
    readonly event: string
    readonly follow_up: string
  } | null
  /** Of a webhook. */
  readonly delivery: Delivery | null
  /** Of a job that waits for events. */
  readonly progress: Progress | null
}

export interface Delivery extends AttemptRef {
  readonly endpoint: string
  readonly type: string
  /** Of what was sent before. */
  readonly message: string | null
}

interface Hold {
  readonly key: string
  readonly job: string
  readonly since: string
  readonly until: string
}

export interface Outcome extends AttemptRef {
  readonly state: string
  /** Of its result. */
  readonly nonce: string | null
  /** Of its error. */
  readonly code: string | null
  readonly message: string | null
  /** Seconds since the run's first entry. */
  readonly at: number
}

interface Problem extends AttemptRef {
  readonly follow_up: string
  readonly event: string
}

interface Waited extends AttemptRef {
  /** Null: it waits for its callback. */
  readonly name: string | null
  /** It was open when it began to wait. */
  readonly sure: boolean
  /** Its event was there, or a third party's was kept though it waited. */
  readonly missed: boolean
  readonly at: number
}

/** An event that nobody waited for yet. */
interface Kept {
  readonly job: string
  readonly nonce: string | null
  /** Somebody did. */
  readonly missed: boolean
  readonly still: boolean
}

export const keyOf = ({ job, attempt }: AttemptRef): string => `${job}/${attempt}`
export const isBuiltIn = (kind: string): boolean => kind.startsWith('millrace.')
export const isEnd = (state: string | undefined): boolean => state === 'c' || state === 'f' || state === 'x'
