// Verdicts on jobs that no function has seen, and why.

import type { Outcome } from '../engine.ts'
import type { ClaimedJob } from '../engine-rows.ts'
import type { Route } from './route.ts'
import type { Verdict } from './verdict.ts'

/** Until somebody may have mended it. */
const PUT_BACK_MS = 30_000
const LOOK_UP_AGAIN_MS = 5_000

const close = (outcome: Outcome): Verdict => ({ do: 'close', outcome })

export const putBack = (code: string, message: string, delayMs = PUT_BACK_MS): Verdict =>
  close({ kind: 'put_back', error: { code, message }, delayMs })

export const failed = (code: string, message: string, retryable = false): Verdict =>
  close({ kind: 'failed', retryable, error: { code, message } })

export const RELEASE = close({ kind: 'released' })

/** The request could not be made. */
export const unbuilt = (error: unknown): Verdict => failed('dispatch_error', String(error), true)

export const NO_CALLBACK_URL = putBack('no_callback_url', 'this dispatcher was given no URL of a callback ingress')

export const NO_LAMBDA_INVOKER = putBack(
  'no_lambda_invoker',
  'this dispatcher was not told to invoke functions of Lambda',
)

export const noTarget = ({ kind }: ClaimedJob): Verdict =>
  putBack('no_target', `kind ${kind} is not declared with a target (yet)`)

/** Others' deliveries share the queue: they do not wait for an endpoint that takes its time. */
export const endpointBusy = ({ origin }: Route): Verdict =>
  putBack('throttled', `${origin} has not answered as many requests as it may have`, PUT_BACK_MS * (1 + Math.random()))

export const throttledBefore = ({ origin }: Route, pause: number): Verdict =>
  putBack('throttled', `${origin} asked to wait`, pause)

export const NO_ENDPOINT = failed('no_endpoint', 'the endpoint of this delivery is gone')

export const ENDPOINT_NOT_READ = putBack(
  'endpoint_not_read',
  'the endpoint of this delivery could not be looked up',
  LOOK_UP_AGAIN_MS,
)

export const disabledAs = (reason: string): Verdict =>
  failed('endpoint_disabled', `the endpoint of this delivery is disabled (${reason}): enable it, then redeliver`)

export const SECRET_UNREADABLE = putBack(
  'secret_unreadable',
  'the secret of this endpoint was sealed with a key that is not in the keyring',
)
