// The three bodies, checked: what the function asked for, in the engine's words.

import { type HeartbeatItem, type Outcome, RESULT_TOO_LARGE } from '../engine.ts'
import type { Json } from '../json.ts'
import { progressOf } from '../progress.ts'
import { CALLBACK_TIMEOUT_SECONDS } from '../wire.ts'
import { Problem } from './problem.ts'

type Body = { readonly [key: string]: Json | undefined }

const MAX_SECONDS = 30 * 86_400
/** What snoozes for no time at all would run in a loop, at no cost in attempts. */
const SHORTEST_SNOOZE_MS = 1_000
/** Error texts are cut to this many characters. */
const MAX_ERROR_LENGTH = 10_000

const wrong = (what: string): Problem => new Problem(422, 'invalid_request', what)

/** `{"payload"?: any, "payload_too_large"?: true}` */
export const completion = ({ payload, payload_too_large: tooLarge }: Body): Outcome => ({
  kind: 'completed',
  result: payload,
  ...(payload === undefined && tooLarge === true && { error: RESULT_TOO_LARGE }),
})

/**
 * `{"error": string, "retryable"?: bool, "retry_after_seconds"?: number}`, final unless `retryable` is true; or
 * `{"snooze_seconds": number}`, no failure at all.
 */
export function failure(body: Body): Outcome {
  if (body.snooze_seconds !== undefined) return snooze(body.snooze_seconds)
  const { error: said, retryable = false, retry_after_seconds: after } = body
  if (typeof said !== 'string') throw wrong('error must be a string')
  if (typeof retryable !== 'boolean') throw wrong('retryable must be true or false')
  const error = { message: said.slice(0, MAX_ERROR_LENGTH).toWellFormed(), code: 'reported' }
  if (after === undefined) return { kind: 'failed', error, retryable }
  if (!retryable) throw wrong('retry_after_seconds needs retryable: true')
  if (!isWithin(after, 0, MAX_SECONDS)) throw wrong('retry_after_seconds must be a number from 0 to 30 days')
  return { kind: 'put_back', error, delayMs: Math.ceil(after * 1000) }
}

function snooze(seconds: Json): Outcome {
  if (!isWithin(seconds, 0, MAX_SECONDS)) throw wrong('snooze_seconds must be a number from 0 to 30 days')
  return { kind: 'snoozed', delayMs: Math.max(SHORTEST_SNOOZE_MS, Math.ceil(seconds * 1000)) }
}

/** `{"timeout_seconds"?: number, "progress"?: {…}}` */
export function beat(body: Body): Pick<HeartbeatItem, 'timeoutSeconds' | 'progress'> {
  const { timeout_seconds: timeoutSeconds = CALLBACK_TIMEOUT_SECONDS, progress } = body
  if (!isWithin(timeoutSeconds, Number.MIN_VALUE, MAX_SECONDS)) {
    throw wrong('timeout_seconds must be a number above 0 and up to 30 days')
  }
  return { timeoutSeconds, progress: progress === undefined ? undefined : progressOf(progress, wrong) }
}

const isWithin = (value: Json, low: number, high: number): value is number =>
  typeof value === 'number' && value >= low && value <= high
