// An attempt that waits for an event: what it asks for, checked, and how it is put on record.

import type { AttemptRef, EventStore, Tried, Waited, WaitItem } from '../engine.ts'
import { MillraceError } from '../errors.ts'
import { checkEventName } from '../event-name.ts'
import type { Json } from '../json.ts'
import { progressOf } from '../progress.ts'
import { WAIT_TIMEOUT_SECONDS } from '../wire.ts'
import { rulesIn, verdictOf } from './rules.ts'

/** What a function asks for. */
export type WaitRequest = Omit<WaitItem, keyof AttemptRef>

/** How it came out: on record as waiting, ended by an event that was there, or too late. */
export type Registered = Exclude<Waited, { answer: 'events' }>

const LONGEST_SECONDS = 315_360_000
const SHORTEST_SECONDS = 0.001

const wrong = (what: string): MillraceError => new MillraceError('invalid_request', what)

/**
 * The body of a wait (`WaitBody` in core/wire.ts), checked.
 *
 * @throws {MillraceError} `invalid_request`, `invalid_event`, `invalid_expression`
 */
export function waitRequest(body: { readonly [key: string]: Json | undefined }): WaitRequest {
  const {
    name,
    timeout_seconds: timeoutSeconds = WAIT_TIMEOUT_SECONDS,
    on_timeout: onTimeout = 'fail',
    progress,
  } = body
  if (
    typeof timeoutSeconds !== 'number' ||
    !(timeoutSeconds >= SHORTEST_SECONDS && timeoutSeconds <= LONGEST_SECONDS)
  ) {
    throw wrong('timeout_seconds must be a number above 0 and up to ten years')
  }
  if (onTimeout !== 'fail' && onTimeout !== 'retry' && onTimeout !== 'resume') {
    throw wrong('on_timeout must be fail, retry or resume')
  }
  return {
    name: checkEventName(name),
    timeoutSeconds,
    onTimeout,
    rules: rulesIn(body),
    progress: progress === undefined ? undefined : progressOf(progress, wrong),
  }
}

/** Asks for it until it is on record, and tries the rules on the events that came before. */
export async function registerWait(store: EventStore, item: WaitItem): Promise<Registered> {
  let tried: Tried | undefined
  for (;;) {
    const waited = await store.wait(item, tried)
    if (waited.answer !== 'events') return waited
    tried = tryRules(item, waited.events)
  }
}

function tryRules({ rules = {} }: WaitItem, events: Extract<Waited, { answer: 'events' }>['events']): Tried {
  let seen = 0
  for (const { id, payload } of events) {
    seen = id
    const verdict = verdictOf(rules, payload)
    if (verdict !== undefined) return { seen, verdict: { ...verdict, id } }
  }
  return { seen, verdict: undefined }
}
