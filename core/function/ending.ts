// How an attempt ended, and the two ways of saying so: the answer (sync mode) and the callback.

import { MillraceError } from '../errors.ts'
import { type CallbackAction, type CompleteBody, type FailBody, HEADER, type WaitBody } from '../wire.ts'
import { NonRetryableError, RetryLaterError, SnoozeError, WaitSignal } from './errors.ts'
import type { Handler } from './handler.ts'
import type { Job } from './job.ts'
import type { Refused } from './refused.ts'

export type Ending =
  /** `result` is JSON text; undefined when the handler returned nothing, or what is too large to be sent. */
  | { readonly kind: 'completed'; readonly result: string | undefined; readonly isTooLarge?: true }
  | { readonly kind: 'snoozed'; readonly seconds: number }
  /** It waits for an event, by {@link Job.waitForEvent}. */
  | { readonly kind: 'waiting'; readonly wait: WaitBody }
  | {
      readonly kind: 'failed'
      readonly error: string
      readonly code?: string | undefined
      readonly retryable: boolean
      /** Put back for so long instead of failed. */
      readonly retryAfterSeconds?: number | undefined
    }

/** Runs the handler. Never rejects. */
export async function endingOf(handler: Handler, args: unknown, job: Job): Promise<Ending> {
  try {
    return completed(await handler.run(args, job))
  } catch (error) {
    return failed(error)
  }
}

function completed(value: unknown): Ending {
  try {
    return { kind: 'completed', result: JSON.stringify(value) }
  } catch (error) {
    // The work is done; doing it again would only give the same result again.
    return { kind: 'failed', error: `The result is not JSON: ${messageOf(error)}`, retryable: false }
  }
}

function failed(error: unknown): Ending {
  if (error instanceof WaitSignal) return { kind: 'waiting', wait: error.wait }
  if (error instanceof SnoozeError) return { kind: 'snoozed', seconds: error.seconds }
  return {
    kind: 'failed',
    error: messageOf(error),
    code: error instanceof MillraceError ? error.code : undefined,
    retryable: !(error instanceof NonRetryableError),
    retryAfterSeconds: error instanceof RetryLaterError ? error.seconds : undefined,
  }
}

function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message || error.name
  try {
    return String(error)
  } catch {
    return 'Something was thrown that has no text'
  }
}

/** 200 with the result, 202 with Millrace-Wait or Millrace-Snooze for a wait or {@link SnoozeError}, 503 with Retry-After for {@link RetryLaterError}, else 500. */
export function answerOf(ending: Ending): Response {
  if (ending.kind === 'completed') {
    return new Response(ending.result ?? '', { headers: { 'content-type': 'application/json' } })
  }
  if (ending.kind === 'snoozed') {
    return Response.json({ status: 'snoozed' }, { status: 202, headers: { [HEADER.snooze]: whole(ending.seconds) } })
  }
  if (ending.kind === 'waiting') return Response.json(ending.wait, { status: 202, headers: { [HEADER.wait]: 'true' } })
  const { error, code, retryable, retryAfterSeconds } = ending
  const headers: Record<string, string> = {}
  if (!retryable) headers[HEADER.noRetry] = 'true'
  if (retryAfterSeconds !== undefined) headers['retry-after'] = whole(retryAfterSeconds)
  return Response.json({ error, code }, { status: retryAfterSeconds === undefined ? 500 : 503, headers })
}

const whole = (seconds: number): string => String(Math.ceil(seconds))

/** What a refusal says, for who cannot hear its answer. */
export function refusedEnding(refused: Refused): Ending {
  const { status, headers } = refused.response()
  const after = headers.get('retry-after')
  return {
    kind: 'failed',
    error: refused.message,
    code: refused.code,
    retryable: status >= 500 || status === 429 || headers.get(HEADER.noRetry) === 'false',
    retryAfterSeconds: after === null ? undefined : Number(after),
  }
}

/** Which callback says it, with its body. `retryable` is always explicit, because Awa takes its absence for final. */
export function callbackOf(ending: Ending): { action: CallbackAction; body: string } {
  if (ending.kind === 'completed' && ending.isTooLarge) {
    return { action: 'complete', body: JSON.stringify({ payload_too_large: true } satisfies CompleteBody) }
  }
  if (ending.kind === 'completed') {
    const body = ending.result === undefined ? '{}' : `{"payload":${ending.result}}`
    return { action: 'complete', body }
  }
  if (ending.kind === 'snoozed') {
    return { action: 'fail', body: JSON.stringify({ snooze_seconds: ending.seconds } satisfies FailBody) }
  }
  if (ending.kind === 'waiting') return { action: 'wait', body: JSON.stringify(ending.wait) }
  const { error, retryable, retryAfterSeconds } = ending
  const body: FailBody = {
    error: error.toWellFormed(),
    retryable,
    ...(retryAfterSeconds !== undefined && { retry_after_seconds: retryAfterSeconds }),
  }
  return { action: 'fail', body: JSON.stringify(body) }
}

/**
 * What to say when the ingress refuses to take that (with this status, in these words). Left open, the attempt would time out and the work
 * be done again, with the same result.
 */
export function insteadOf(ending: Ending, status: number | undefined, said: unknown): Ending | undefined {
  if (ending.kind === 'completed' && status === 413) return { kind: 'completed', result: undefined, isTooLarge: true }
  if (ending.kind === 'completed') {
    return { kind: 'failed', error: 'The result was refused by the ingress', retryable: false }
  }
  if (ending.kind === 'failed') return undefined
  if (ending.kind === 'waiting') {
    return { kind: 'failed', error: `The ingress takes no such wait: ${said ?? status}`, retryable: false }
  }
  return { kind: 'failed', error: 'The ingress takes no snooze', retryable: true }
}
