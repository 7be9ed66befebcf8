// The outcome rules: what a function's answer, or the lack of one, means for the attempt (docs/protocol.md).

import { type AttemptError, type Outcome, RESULT_TOO_LARGE } from '../engine.ts'
import type { Json } from '../json.ts'
import { jsonIn, jsonOf } from '../json-body.ts'
import { rateLimitResetMs } from '../rate-limit.ts'
import { retryAfterMs } from '../retry-after.ts'
import { type WaitRequest, waitRequest } from '../waits/register.ts'
import { HEADER } from '../wire.ts'
import type { Answer, TransportError } from './transport.ts'

export interface DispatchRules {
  readonly mode: 'sync' | 'callback'
  /** Callback mode: how long an accepted attempt may stay silent. */
  readonly callbackTimeoutSeconds: number
  /** Callback mode: how long an attempt stays open whose request may have been accepted. */
  readonly ambiguitySeconds: number
  /** Statuses from 400 to 499 that are final: all but 408, 425 and 429 for functions, only 410 for webhooks. */
  readonly isFinal: (status: number) => boolean
  /** What the kind's declaration says of a status goes before that. */
  readonly statuses?: ReadonlyMap<number, 'retry' | 'final'> | undefined
  /** Webhook endpoints are told to us by strangers: 502 and 504 slow their origin down as well, and 503 does without a date. */
  readonly slowsDown?: boolean | undefined
  /** Functions may say "again later" as often as they like, and wait for events; who receives webhooks may not. */
  readonly snoozes?: boolean | undefined
  /** What stands in the way on this side puts the job back. Whoever declares webhook endpoints has to see it fail. */
  readonly putsBack?: boolean | undefined
  /** True when the kind's time limit, not the time-out of the request, is what ends a request. */
  readonly isTimeLimited?: boolean | undefined
}

/** What went out for a webhook delivery, and came back. */
export interface Sent {
  readonly latencyMs: number
  readonly status?: number
  readonly response?: string
}

export type Verdict =
  | {
      readonly do: 'close'
      readonly outcome: Outcome
      readonly throttleMs?: number | undefined
      readonly sent?: Sent | undefined
    }
  /** Accepted, or perhaps accepted: a callback is due within that time. */
  | { readonly do: 'park'; readonly timeoutSeconds: number; readonly code?: string; readonly sent?: Sent | undefined }
  /** The attempt stays open until a named event comes. */
  | { readonly do: 'wait'; readonly wait: WaitRequest; readonly sent?: Sent | undefined }

/** A throttled target that names no time gets this one, with as much jitter. */
const THROTTLE_MS = 2_000
const LONGEST_WAIT_MS = 24 * 60 * 60 * 1000
const LONGEST_SNOOZE_MS = 30 * LONGEST_WAIT_MS
/** Until somebody has mended what keeps requests from being sent. */
const PUT_BACK_MS = 30_000
const OURS_TO_MEND = new Set(['target_refused', 'tls_required', 'no_binding', 'secret_missing', 'identity_unavailable'])
/** A target that asks to be tried again at once (0, a date that has passed) would be called in a loop. */
const SHORTEST_WAIT_MS = 1_000
/** An error's text is cut to so many characters; with what stands around it, it fits into what the engine keeps. */
const MESSAGE_LENGTH = 1_900

export const isFinalForFunctions = (status: number): boolean =>
  status >= 400 && status < 500 && status !== 408 && status !== 425 && status !== 429

/** What holds for webhook endpoints instead. */
export const WEBHOOK_RULES = {
  isFinal: (status: number): boolean => status === 410,
  snoozes: false,
  putsBack: false,
  slowsDown: true,
} as const

/** What an answer means. `now` in milliseconds. */
export function verdictOn(answer: Answer, rules: DispatchRules, now: number): Verdict {
  const snoozeMs = rules.snoozes ? snoozeIn(answer, now) : undefined
  if (snoozeMs !== undefined) return { do: 'close', outcome: { kind: 'snoozed', delayMs: snoozeMs } }
  if (answer.status < 200 || answer.status > 299) return verdictOnRefusal(answer, rules, now)
  if (rules.snoozes && answer.header(HEADER.wait) === 'true') return verdictOnWait(answer)
  if (rules.mode === 'callback') return { do: 'park', timeoutSeconds: rules.callbackTimeoutSeconds }
  return { do: 'close', outcome: { kind: 'completed', ...resultOf(answer) } }
}

/** What asks for a wait that cannot be would ask for it again. */
function verdictOnWait(answer: Answer): Verdict {
  try {
    return { do: 'wait', wait: waitRequest(objectIn(answer)) }
  } catch (error) {
    const message = `the function asked to wait, but ${storable(error instanceof Error ? error.message : String(error))}`
    return { do: 'close', outcome: { kind: 'failed', retryable: false, error: { code: 'invalid_wait', message } } }
  }
}

function objectIn({ body, truncated }: Answer): { readonly [key: string]: Json | undefined } {
  if (truncated) throw new Error('its answer is too large')
  const bytes = new TextEncoder().encode(body)
  const value = jsonOf(bytes, why => new Error(`its answer will not do: ${why}`))
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as { [key: string]: Json }
  throw new Error('its answer is not an object')
}

function verdictOnRefusal(answer: Answer, rules: DispatchRules, now: number): Verdict {
  const asked =
    retryAfterMs(answer.header('retry-after') ?? null, now) ?? rateLimitResetMs(name => answer.header(name), now)
  const delayMs = asked === undefined ? undefined : within(asked)
  const means = meaningOf(answer, rules, delayMs !== undefined)
  if (means === 'throttled') return verdictOnThrottle(errorOf(answer, rules), delayMs)
  const outcome: Outcome = { kind: 'failed', error: errorOf(answer, rules), retryable: means === 'retry', delayMs }
  const isOverloaded = rules.slowsDown && (answer.status === 502 || answer.status === 504)
  return { do: 'close', outcome, ...(isOverloaded && { throttleMs: delayMs ?? THROTTLE_MS * (1 + Math.random()) }) }
}

/** The target has too much to do: later, and slower. */
export function verdictOnThrottle(error: AttemptError, askedMs: number | undefined): Verdict {
  const wait = askedMs === undefined ? THROTTLE_MS * (1 + Math.random()) : within(askedMs)
  return { do: 'close', outcome: { kind: 'put_back', error, delayMs: wait }, throttleMs: wait }
}

/** The function's own word goes before what the kind declares, and that before what the status stands for. */
function meaningOf(answer: Answer, rules: DispatchRules, isTimed: boolean): 'throttled' | 'retry' | 'final' {
  const { status } = answer
  const noRetry = answer.header(HEADER.noRetry)
  const declared = rules.statuses?.get(status)
  if (noRetry === 'true') return 'final'
  if (declared === 'retry' || (declared === 'final' && noRetry !== 'false')) return declared
  if (status === 429 || (status === 503 && (isTimed || rules.slowsDown))) return 'throttled'
  return noRetry !== 'false' && rules.isFinal(status) ? 'final' : 'retry'
}

/** `Millrace-Snooze`: seconds or a date, as in Retry-After. */
function snoozeIn(answer: Answer, now: number): number | undefined {
  const asked = retryAfterMs(answer.header(HEADER.snooze) ?? null, now)
  return asked === undefined ? undefined : Math.min(LONGEST_SNOOZE_MS, Math.max(SHORTEST_WAIT_MS, asked))
}

const within = (ms: number): number => Math.min(LONGEST_WAIT_MS, Math.max(SHORTEST_WAIT_MS, ms))

/** What it means that there was no answer: never final, and in callback mode open if the function may be at work. */
export function verdictOnFailure(error: TransportError, rules: DispatchRules): Verdict {
  if (error.sent && rules.mode === 'callback') {
    const timeoutSeconds = Math.min(rules.ambiguitySeconds, rules.callbackTimeoutSeconds)
    return { do: 'park', timeoutSeconds, code: error.code }
  }
  if (error.code === 'aborted') return { do: 'close', outcome: { kind: 'released' } }
  const refusal = { code: error.code, message: storable(error.message) }
  if (rules.putsBack && OURS_TO_MEND.has(error.code))
    return { do: 'close', outcome: { kind: 'put_back', error: refusal, delayMs: PUT_BACK_MS } }
  const code = error.code === 'timeout' && rules.isTimeLimited ? 'deadline_exceeded' : error.code
  return {
    do: 'close',
    outcome: { kind: 'failed', retryable: true, error: { ...refusal, code } },
  }
}

const errorOf = ({ status, body }: Answer, { slowsDown }: DispatchRules) => ({
  code: `http_${status}`,
  message: `${slowsDown ? 'endpoint' : 'function'} returned ${status}: ${storable(body)}`,
})

/** Cut off, and without what jsonb cannot hold: NUL, and half of a character at the cut. */
export const storable = (text: string): string =>
  text.slice(0, MESSAGE_LENGTH).toWellFormed().replaceAll('\0', '\ufffd')

/** A JSON answer is the job's result; anything else is not kept. */
function resultOf(answer: Answer): { result?: Json; error?: AttemptError } {
  if (answer.body === '' || !/\bjson\b/.test(answer.header('content-type') ?? '')) return {}
  if (answer.truncated) return { error: RESULT_TOO_LARGE }
  try {
    return { result: jsonIn(answer.body, why => new Error(why)) as Json }
  } catch {
    return {}
  }
}
