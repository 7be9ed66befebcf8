// What a handler has of events: those that came, the URLs that let others in, and waiting for one.

import { MillraceError } from '../errors.ts'
import { checkEventName } from '../event-name.ts'
import type { Json } from '../json.ts'
import { eventToken } from '../protocol/event-token.ts'
import type { DispatchBody, EventAction, Progress, WaitBody } from '../wire.ts'
import { WaitSignal } from './errors.ts'

/** An event that the job went on with. */
export interface JobEvent {
  /** What came with it, or what the wait's `transform` made of that; null where there was nothing. */
  readonly payload: Json
  readonly at: Date
  /** None came in time, and the wait said `onTimeout: 'resume'`. */
  readonly timedOut: boolean
}

/** What a wait makes of events; the rules are CEL expressions over `payload`, checked when the wait is put on record. */
export interface WaitForEventOptions {
  /** A day unless given; up to ten years. */
  readonly timeoutSeconds?: number | undefined
  /** What becomes of the attempt then: `fail` unless given. */
  readonly onTimeout?: 'fail' | 'retry' | 'resume' | undefined
  /** Events for which it is not true are ignored. */
  readonly filter?: string | undefined
  /** Fails the job when true. */
  readonly onFail?: string | undefined
  /** Completes the job when true, with the payload as its result. */
  readonly onComplete?: string | undefined
  /** What the payload becomes. */
  readonly transform?: string | undefined
  /** For events that neither fail nor complete it: `resume`. */
  readonly defaultAction?: WaitBody['default_action']
  /** Merged into `progress.metadata` together with the wait. */
  readonly checkpoint?: { readonly [key: string]: Json | undefined } | undefined
}

export interface Events {
  /** The event of that name that the job went on with, if there was one. */
  event(name: string): JobEvent | undefined

  /**
   * The event of that name, or, as long as there is none, the end of this attempt: it throws a {@link WaitSignal}. The
   * function is free then, and no time limit runs. Once the event comes (one that came before was kept), the job is dispatched
   * again, which costs no attempt, and this call answers. What comes before it is done again, so keep it short, or keep its
   * result in `checkpoint`. A name stands for one event of the job: for the next one take another name.
   *
   * @throws {WaitSignal} let it through
   * @throws {MillraceError} `invalid_event`
   * @example
   * const { payload } = job.waitForEvent('payment', { timeoutSeconds: 3600, filter: 'payload.paid == true' })
   */
  waitForEvent(name: string, options?: WaitForEventOptions): JobEvent

  /**
   * The URL that lets this event of this job in, for whoever will send it by `POST`. As long as no other action is named, the
   * wait's rules say what comes of it. Whoever knows the URL can send this event with this action, and nothing else.
   *
   * @throws {MillraceError} `invalid_configuration` when the dispatcher was given no URL of an ingress, `invalid_event`
   */
  eventUrl(name: string, action?: EventAction): string
}

/** `progress`: what is known of it by now. */
export function eventsOf(
  body: DispatchBody,
  eventKey: string | undefined,
  progress: () => Progress | undefined,
): Events {
  const event = (name: string): JobEvent | undefined => {
    const known = body.progress?.events
    const found = known && Object.hasOwn(known, name) ? known[name] : undefined
    if (found === undefined) return undefined
    return { payload: found.payload ?? null, at: new Date(found.at), timedOut: found.timed_out === true }
  }
  return {
    event,
    waitForEvent(name, options = {}) {
      const found = event(checkEventName(name))
      if (found === undefined) throw new WaitSignal(waitBody(name, options, progress()))
      return found
    },
    eventUrl(name, action = 'event') {
      if (body.events_url !== undefined && eventKey !== undefined) {
        const token = eventToken(eventKey, String(body.job_id), checkEventName(name), action)
        return `${body.events_url}/${token}${action === 'event' ? '' : `/${action}`}`
      }
      throw new MillraceError('invalid_configuration', 'The dispatcher knows no URL at which events come in', {
        hint: 'Give maintenance the callback URL (--callback-url)',
      })
    },
  }
}

/** With all progress there is: in sync mode there was no other way to tell it. */
function waitBody(name: string, options: WaitForEventOptions, progress: Progress | undefined): WaitBody {
  const { checkpoint, filter, onComplete, onFail, transform, defaultAction, timeoutSeconds, onTimeout } = options
  const metadata = { ...progress?.metadata, ...checkpoint }
  const said = { ...progress, ...(Object.keys(metadata).length > 0 && { metadata }) }
  return {
    name,
    ...(timeoutSeconds !== undefined && { timeout_seconds: timeoutSeconds }),
    ...(onTimeout !== undefined && { on_timeout: onTimeout }),
    ...(filter !== undefined && { filter }),
    ...(onFail !== undefined && { on_fail: onFail }),
    ...(onComplete !== undefined && { on_complete: onComplete }),
    ...(transform !== undefined && { transform }),
    ...(defaultAction !== undefined && { default_action: defaultAction }),
    ...(Object.keys(said).length > 0 && { progress: said }),
  }
}
