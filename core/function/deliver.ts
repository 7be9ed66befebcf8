// Sends one callback until the ingress has understood it: the bound signature, retries, Retry-After, and when to stop.

import { hex, unhex32, utf8 } from '../protocol/bytes.ts'
import { signCallback } from '../protocol/callback-signature.ts'
import { retryAfterMs } from '../retry-after.ts'
import { type CallbackAction, HEADER } from '../wire.ts'
import type { ReceiverPort } from './port.ts'

/** Where an attempt's callbacks go and how they are signed. */
export interface CallbackAddress {
  readonly callbackId: string
  /** Up to and including the callback id; the action comes after it. */
  readonly url: string
  /** Hex; missing only in dispatches that were accepted unsigned. */
  readonly attemptKey: string | undefined
}

export interface Delivered {
  readonly status: number
  readonly body: { readonly [field in 'state' | 'cancel' | 'error' | 'timeout_seconds']?: unknown }
}

const REQUEST_TIMEOUT_MS = 20_000
const FIRST_DELAY_MS = 250
const LONGEST_DELAY_MS = 30_000

/**
 * Posts the callback at least once, and again on network errors, 408, 429 and 5xx until `giveUpAt` (milliseconds).
 * Every try is signed anew, so its timestamp is never stale. Undefined when nothing but such failures came back.
 */
export async function deliver(
  port: ReceiverPort,
  address: CallbackAddress,
  action: CallbackAction,
  body: string,
  giveUpAt: number,
): Promise<Delivered | undefined> {
  for (let tries = 1; ; tries++) {
    const response = await post(port, address, action, body).catch(() => undefined)
    if (response !== undefined && !isTransient(response.status)) {
      return { status: response.status, body: await jsonObject(response) }
    }
    const asked = retryAfterMs(response?.headers.get('retry-after') ?? null, port.now())
    await response?.body?.cancel().catch(() => undefined)
    const delay = Math.max(asked ?? 0, backoffMs(tries, port.random()))
    if (port.now() + delay >= giveUpAt) return undefined
    await port.sleep(delay)
  }
}

function post(port: ReceiverPort, address: CallbackAddress, action: CallbackAction, text: string): Promise<Response> {
  const body = utf8(text) as Uint8Array<ArrayBuffer>
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (address.attemptKey !== undefined) {
    const callback = { action, callbackId: address.callbackId, body }
    headers[HEADER.signature] = signCallback(address.attemptKey, callback, port.now())
  }
  const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS)
  // A redirect would carry the signature to a host that the dispatch did not name.
  return port.fetch(`${address.url}/${action}`, { method: 'POST', headers, body, redirect: 'manual', signal })
}

const isTransient = (status: number): boolean => status >= 500 || status === 408 || status === 429 || status === 0

/** Doubles from a quarter of a second to thirty; the jitter takes off up to a half. */
const backoffMs = (tries: number, random: number): number =>
  Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (tries - 1)) * (1 - random / 2)

async function jsonObject(response: Response): Promise<Delivered['body']> {
  const value: unknown = await response.json().catch(() => undefined)
  return typeof value === 'object' && value !== null ? value : {}
}

/** The key as it came in the dispatch's header, in one spelling; undefined when it is none. */
export function attemptKeyFrom(header: string | null): string | undefined {
  const key = unhex32(header ?? '')
  return key && hex(key)
}
