// An event on its way to a job: applied, kept for the attempt that will wait for it, or ignored by the rules.

import type { EventItem, EventStore } from '../engine.ts'
import { MillraceError } from '../errors.ts'
import type { EventAction, JobState } from '../wire.ts'

/** What became of it. */
export type EventAnswer =
  /** The attempt that waited for it has ended by it; `jobState` is the job's from now on. */
  | { readonly state: 'applied'; readonly jobState: JobState }
  /** Nobody waits for it yet: it is kept for whoever will. Or the rules of the wait had no use for it. */
  | { readonly state: 'kept' | 'ignored' }

/** As long as other events and waits of the same job come in between. */
const MOST_TRIES = 20

type Verdict = { readonly action: EventAction; readonly payload?: EventItem['payload'] } | undefined

/** The part of CEL that not everybody who sends events needs. */
export type Evaluate = (rules: object, payload: EventItem['payload']) => Verdict | Promise<Verdict>

/**
 * Takes an event to its job. `evaluate` is called when the wait has rules.
 *
 * @throws {MillraceError} `not_found`, `already_ended`, `too_many_events`, `invalid_event`, `payload_too_large`, `unavailable`
 */
export async function takeEvent(store: EventStore, event: EventItem, evaluate: Evaluate): Promise<EventAnswer> {
  let item = event
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const taken = await store.sendEvent(item)
    if (taken.answer === 'evaluate') {
      const verdict = await evaluate(taken.rules, event.payload)
      if (verdict === undefined) return { state: 'ignored' }
      item = { ...event, ...verdict, forAttempt: taken.attempt }
    } else if (taken.answer === 'gone') item = event
    else if (taken.answer === 'applied') return { state: 'applied', jobState: taken.state }
    else if (taken.answer === 'kept') return { state: 'kept' }
    else throw refusal(taken, event)
  }
  throw new MillraceError('unavailable', `The waits of job ${event.job} change too fast, try again`)
}

function refusal(taken: { readonly answer: string; readonly state?: string }, { job }: EventItem): MillraceError {
  if (taken.answer === 'ended') return new MillraceError('already_ended', `Job ${job} had ended before: ${taken.state}`)
  if (taken.answer === 'unknown') return new MillraceError('not_found', `There is no job ${job} (any more)`)
  return new MillraceError('too_many_events', `Job ${job} has as many events that nobody waits for as are kept`)
}
