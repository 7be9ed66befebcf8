// What is on record, as the answer to the callback that asked for it.

import type { Beat, Closed, Outcome } from '../engine.ts'
import type { Json } from '../json.ts'
import type { Registered } from '../waits/register.ts'
import { Problem } from './problem.ts'

/** The body of a 200: Awa's `{"id", "state"}` and what goes beyond it. */
export interface CallbackAnswer {
  readonly id: string
  readonly state: string
  /** On a repeated `complete`: the result on record. */
  readonly result?: Json | undefined
  /** On a heartbeat: the job was cancelled, stop working. */
  readonly cancel?: true
  /** On a `complete`: the job is done, but its result was too large to be kept. */
  readonly result_too_large?: true
  /** On a heartbeat: the kind's time limit leaves so much, which is less than was asked for. */
  readonly timeout_seconds?: number
}

/** The same outcome again is answered as if it were the first; another one is a conflict. */
export function closedAnswer(id: string, asked: Outcome, closed: Closed): CallbackAnswer {
  const { state, fresh, result, resultTooLarge } = closed
  if (state === 'unknown') throw unknown()
  if (!fresh && !isSame(asked, state)) throw conflict(state)
  const repeated = !fresh && asked.kind === 'completed' && result !== undefined
  return { id, state, ...(repeated && { result }), ...(resultTooLarge && { result_too_large: true }) }
}

/** An open attempt goes on; a cancelled one hears so; any other end is a conflict. */
export function beatAnswer(id: string, { state, timeoutSeconds: granted }: Beat): CallbackAnswer {
  if (state === 'unknown') throw unknown()
  if (state === 'cancelled') return { id, state, cancel: true }
  if (state !== 'running' && state !== 'waiting_external') throw conflict(state)
  return { id, state, ...(granted !== undefined && { timeout_seconds: granted }) }
}

/** It waits, or an event that came before has ended it. */
export function waitAnswer(id: string, registered: Registered): CallbackAnswer {
  if (registered.answer === 'unknown') throw unknown()
  if (registered.answer === 'closed') throw conflict(registered.state)
  return { id, state: registered.answer === 'applied' ? registered.state : 'waiting_external' }
}

function isSame(asked: Outcome, recorded: Closed['state']): boolean {
  if (asked.kind === 'completed') return recorded === 'completed'
  if (asked.kind === 'snoozed') return recorded === 'available'
  const wentOn = recorded === 'retryable' || (recorded === 'available' && asked.kind === 'put_back')
  return recorded === 'failed' || wentOn
}

const unknown = (): Problem => new Problem(404, 'not_found', 'No such attempt')

const conflict = (state: string): Problem =>
  new Problem(409, 'attempt_closed', `The attempt was closed before: ${state}`, { state })
