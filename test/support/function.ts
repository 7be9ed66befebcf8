// A function and its dispatcher's side for tests: signed dispatches, and an ingress that answers as it is told.

import { defineKind, type Handler, handle, type Job, type ServeOptions, serve } from 'millrace/function'
import {
  callbackIdOf,
  callbackUrl,
  type DispatchBody,
  decodeCallbackId,
  deriveDispatchKeyring,
  dispatchHeaders,
  formatKeyring,
  parseKeyring,
  verifyCallback,
} from 'millrace/protocol'
import * as v from 'valibot'
import type { AttemptRef } from '../../core/engine.ts'
import { platformPort } from '../../core/function/port.ts'
import { listen } from './http-server.ts'

const keyring = parseKeyring(`k1:${'07'.repeat(32)}`)
export const dispatchKeys = formatKeyring(deriveDispatchKeyring(keyring))

export const resize = defineKind({ name: 'resize', args: v.object({ width: v.number() }) })

/** A handler of the kind `resize`. */
export const resizing = (run: (args: { width: number }, job: Job) => unknown): Handler => handle(resize, run)

const encode = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value))

export interface DispatchOptions {
  /** Where callbacks go; without it the dispatch is synchronous. */
  readonly ingress?: string | undefined
  /** The attempt; the first of job 42 unless given. */
  readonly ref?: AttemptRef
  readonly body?: Partial<DispatchBody>
  readonly path?: string
  /** Milliseconds. */
  readonly now?: number
  readonly deadlineMs?: number
}

/** What a dispatcher sends, signed. */
export function dispatchRequest(base: string, options: DispatchOptions = {}): Request {
  const { ingress, path = '/jobs', now = Date.now(), deadlineMs = 60_000 } = options
  const { job_id = 42, attempt = 1 } = options.body ?? {}
  const { ref = { segment: '0', id: String(job_id), attempt } } = options
  const callbackId = ingress === undefined ? undefined : callbackIdOf(keyring, ref)
  const deadline = new Date(now + deadlineMs).toISOString()
  const body = encode({
    job_id: Number(ref.id),
    kind: 'resize',
    args: { width: 8 },
    attempt: ref.attempt,
    max_attempts: 5,
    queue: 'images',
    deadline,
    enqueued_at: '2026-01-01T00:00:00.000Z',
    ...(ingress &&
      callbackId && { callback_id: callbackId, callback_url: callbackUrl(ingress, '', callbackId, 'complete') }),
    ...options.body,
  })
  const headers = dispatchHeaders({ keyring, ref, callbackId, method: 'POST', path, body, deadline, now })
  return new Request(`${base}${path}`, { method: 'POST', headers, body })
}

/** A receiver behind a real server. Delays between tries of a callback are noted instead of waited for. */
export async function startFunction(handlers: readonly Handler[], options: Partial<ServeOptions> = {}) {
  const delays: number[] = []
  const port = {
    ...platformPort,
    // Only the waits of heartbeats and deadlines can be interrupted.
    sleep: async (ms: number, signal?: AbortSignal) => {
      if (signal) await platformPort.sleep(ms, signal)
      else delays.push(ms)
    },
  }
  const receiver = serve({ kinds: handlers, dispatchKeys, port, ...options })
  const url = await listen(request => receiver.fetch(request))
  return { receiver, url, delays, send: (dispatch?: DispatchOptions) => fetch(dispatchRequest(url, dispatch)) }
}

export interface Received {
  readonly action: string
  readonly body: Record<string, unknown>
}

/**
 * A server in the ingress's place that checks the bound signature of each callback, notes it, and answers it with what
 * `answer` says; 200 unless it says something.
 */
export async function startIngress(
  answer: (callback: Received, nth: number) => Response | undefined = () => undefined,
) {
  const received: Received[] = []
  const waiting: { count: number; resolve: () => void }[] = []
  const url = await listen(async request => {
    const [, callbackId = '', action = ''] = new URL(request.url).pathname.split('/')
    const body = new Uint8Array(await request.arrayBuffer())
    const signed = { callbackId, action: action as 'complete', body }
    const verdict = verifyCallback(keyring.keys[0], signed, request.headers.get('millrace-signature') ?? '', Date.now())
    if (verdict !== 'valid' || decodeCallbackId(callbackId) === undefined) return Response.json({}, { status: 401 })
    const callback = { action, body: JSON.parse(new TextDecoder().decode(body)) }
    received.push(callback)
    for (const { count, resolve } of waiting) if (received.length >= count) resolve()
    return answer(callback, received.length) ?? Response.json({ id: callbackId, state: 'ok' })
  })
  /** Resolves once so many callbacks have come in. */
  const count = (count: number) =>
    new Promise<void>(resolve => (received.length >= count ? resolve() : waiting.push({ count, resolve })))
  return { url, received, count }
}
