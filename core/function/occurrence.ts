// Which schedule enqueued a job, and for when; as migrations/functions/schedule.sql puts it into the metadata.

import type { Json } from '../json.ts'
import type { DispatchBody } from '../wire.ts'

export interface Occurrence {
  /** The schedule's name. */
  readonly name: string
  /** When it was due, however late it was fired. */
  readonly at: Date
  /** Somebody triggered it by hand, at `at`. */
  readonly triggered: boolean
}

/** Undefined when no schedule did, or when the metadata under `schedule` is the application's own. */
export function occurrenceOf(metadata: DispatchBody['metadata']): Occurrence | undefined {
  const said = metadata?.schedule
  if (typeof said !== 'object' || said === null || Array.isArray(said)) return undefined
  const { name, at, triggered } = said as { readonly [key: string]: Json | undefined }
  if (typeof name !== 'string' || typeof at !== 'string' || Number.isNaN(Date.parse(at))) return undefined
  return { name, at: new Date(at), triggered: triggered === true }
}
