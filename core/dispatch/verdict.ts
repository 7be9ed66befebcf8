// The outcome rules: what a function's answer, or the lack of one, means for the attempt (docs/protocol.md).

import type { Outcome } from '../engine.ts'
import type { Json } from '../json.ts'
import { MAX_DEPTH, nestsDeeper } from '../nesting.ts'
import { retryAfterMs } from '../retry-after.ts'
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
}

export type Verdict =
  | { readonly do: 'close'; readonly outcome: Outcome; readonly throttleMs?: number | undefined }
  /** Accepted, or perhaps accepted: a callback is due within that time. */
  | { readonly do: 'park'; readonly timeoutSeconds: number; readonly code?: string }

/** A throttled target that names no time gets this one, with as much jitter. */
const THROTTLE_MS = 2_000
const LONGEST_WAIT_MS = 24 * 60 * 60 * 1000
/** A target that asks to be tried again at once (0, a date that has passed) would be called in a loop. */
const SHORTEST_THROTTLE_MS = 1_000
/** An error's text is cut to so many characters; with what stands around it, it fits into what the engine keeps. */
const MESSAGE_LENGTH = 1_900

export const isFinalForFunctions = (status: number): boolean =>
  status >= 400 && status < 500 && status !== 408 && status !== 425 && status !== 429

export const isFinalForWebhooks = (status: number): boolean => status === 410

/** What an answer means. `now` in milliseconds. */
export function verdictOn(answer: Answer, rules: DispatchRules, now: number): Verdict {
  const { status } = answer
  if (status >= 200 && status < 300) {
    return rules.mode === 'callback'
      ? { do: 'park', timeoutSeconds: rules.callbackTimeoutSeconds }
      : { do: 'close', outcome: { kind: 'completed', result: resultOf(answer) } }
  }
  const asked = retryAfterMs(answer.header('retry-after') ?? null, now)
  const delayMs = asked === undefined ? undefined : Math.min(asked, LONGEST_WAIT_MS)
  if (status === 429 || (status === 503 && delayMs !== undefined)) {
    const wait = Math.max(SHORTEST_THROTTLE_MS, delayMs ?? THROTTLE_MS * (1 + Math.random()))
    return { do: 'close', outcome: { kind: 'put_back', error: errorOf(answer), delayMs: wait }, throttleMs: wait }
  }
  // The function's own word goes before what the status stands for.
  const noRetry = answer.header(HEADER.noRetry)
  const retryable = noRetry === 'false' || (noRetry !== 'true' && !rules.isFinal(status))
  return { do: 'close', outcome: { kind: 'failed', error: errorOf(answer), retryable, delayMs } }
}

/** What it means that there was no answer: never final, and in callback mode open if the function may be at work. */
export function verdictOnFailure(error: TransportError, rules: DispatchRules): Verdict {
  if (error.sent && rules.mode === 'callback') {
    const timeoutSeconds = Math.min(rules.ambiguitySeconds, rules.callbackTimeoutSeconds)
    return { do: 'park', timeoutSeconds, code: error.code }
  }
  if (error.code === 'aborted') return { do: 'close', outcome: { kind: 'released' } }
  return {
    do: 'close',
    outcome: { kind: 'failed', retryable: true, error: { code: error.code, message: storable(error.message) } },
  }
}

const errorOf = ({ status, body }: Answer) => ({
  code: `http_${status}`,
  message: `function returned ${status}: ${storable(body)}`,
})

/** Cut off, and without what jsonb cannot hold: NUL, and half of a character at the cut. */
const storable = (text: string): string => text.slice(0, MESSAGE_LENGTH).toWellFormed().replaceAll('\0', '\ufffd')

/** A JSON answer is the job's result; anything else is not kept. */
function resultOf(answer: Answer): Json | undefined {
  if (answer.body === '' || answer.truncated || !/\bjson\b/.test(answer.header('content-type') ?? '')) return undefined
  if (nestsDeeper(answer.body, MAX_DEPTH)) return undefined
  try {
    return JSON.parse(answer.body) as Json
  } catch {
    return undefined
  }
}
