// Builds the request that hands a job to its function.

import type { AttemptRef } from '../engine.ts'
import type { ClaimedJob } from '../engine-rows.ts'
import { utf8 } from '../protocol/bytes.ts'
import { callbackUrl, eventsUrl } from '../protocol/callback-url.ts'
import { callbackIdOf, dispatchHeaders } from '../protocol/dispatch-headers.ts'
import type { Keyring } from '../protocol/keyring.ts'
import { INVOKE } from '../wire.ts'
import type { Route } from './route.ts'
import type { DispatchRequest } from './transport.ts'

export interface Sender {
  readonly keyring: Keyring
  /** Base URL of the callback ingress. */
  readonly callbackBase: string | undefined
  readonly callbackPrefix: string | undefined
  /** Of events by token. */
  readonly eventsPrefix?: string | undefined
  /** Sends Awa's bearer header too, but for kinds that do not want it. */
  readonly compatible: boolean
}

/** Timers hold 32 bits of milliseconds, and fire at once when they are given more. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

const USER_AGENT = 'millrace/0.1'

/** The whole request for one attempt. `now` in milliseconds. */
export const requestFor = (
  job: ClaimedJob,
  route: Route,
  sender: Sender,
  now: number,
  signal: AbortSignal,
): DispatchRequest => requestOf(route, dispatch(job, route, sender, now), signal)

export const requestOf = (
  route: Route,
  { headers, body }: Pick<DispatchRequest, 'headers' | 'body'>,
  signal: AbortSignal,
): DispatchRequest => ({
  origin: route.origin,
  path: route.path,
  headers: { 'user-agent': USER_AGENT, ...route.headers, ...headers },
  body,
  timeoutMs: Math.min(LONGEST_TIMER_MS, route.requestTimeoutSeconds * 1000),
  signal,
})

function dispatch(job: ClaimedJob, route: Route, sender: Sender, now: number) {
  const seconds = route.mode === 'callback' ? route.callbackTimeoutSeconds : route.requestTimeoutSeconds
  const deadline = iso(now + seconds * 1000)
  const callbackId = route.mode === 'callback' ? callbackIdOf(sender.keyring, job) : undefined
  const body = utf8(dispatchBody(job, deadline, callbackPart(callbackId, sender) + eventsPart(sender)))
  const headers = dispatchHeaders({
    method: route.lambda === undefined ? 'POST' : INVOKE,
    path: route.path,
    body,
    keyring: sender.keyring,
    ref: job satisfies AttemptRef,
    callbackId,
    deadline,
    now,
    takesEvents: sender.callbackBase !== undefined,
    compatible: sender.compatible && route.compatible !== false,
  })
  return { body, headers }
}

/** Arguments, metadata and progress are JSON texts already: they are put in as they are, never parsed. */
function dispatchBody(job: ClaimedJob, deadline: string, callback: string): string {
  const optional = `${job.progress === null ? '' : `,"progress":${job.progress}`}${job.metadata === null ? '' : `,"metadata":${job.metadata}`}`
  return `{"job_id":${job.id},"kind":${JSON.stringify(job.kind)},"args":${job.args},"attempt":${job.attempt},"max_attempts":${job.max_attempts},"queue":${JSON.stringify(job.queue)},"deadline":"${deadline}","enqueued_at":"${iso(job.enqueued_ms)}"${callback}${optional}}`
}

const isoMemo = new Map<number, string>()

/** ISO 8601. Many jobs of a batch share a millisecond, and writing one takes as long as the rest of the body. */
function iso(ms: number): string {
  const known = isoMemo.get(ms)
  if (known !== undefined) return known
  if (isoMemo.size >= 64) isoMemo.clear()
  const text = new Date(ms).toISOString()
  isoMemo.set(ms, text)
  return text
}

function callbackPart(callbackId: string | undefined, { callbackBase, callbackPrefix }: Sender): string {
  if (callbackId === undefined || callbackBase === undefined) return ''
  const url = callbackUrl(callbackBase, callbackPrefix, callbackId, 'complete')
  return `,"callback_id":"${callbackId}","callback_url":${JSON.stringify(url)}`
}

const eventsParts = new WeakMap<Sender, string>()

/** The same in every dispatch of a sender. */
function eventsPart(sender: Sender): string {
  const { callbackBase, eventsPrefix } = sender
  if (callbackBase === undefined) return ''
  const known = eventsParts.get(sender)
  if (known !== undefined) return known
  const part = `,"events_url":${JSON.stringify(eventsUrl(callbackBase, eventsPrefix))}`
  eventsParts.set(sender, part)
  return part
}
