// The callback ingress on a real database and a real port, and attempts to call back about.

import { toSql } from 'millrace'
import { type CallbacksOptions, callbacks } from 'millrace/callbacks'
import {
  attemptKey,
  type CallbackAction,
  callbackIdOf,
  callbackUrl,
  parseKeyring,
  signCallback,
  signCompatible,
} from 'millrace/protocol'
import type postgres from 'postgres'
import type { AttemptRef } from '../../core/engine.ts'
import type { Sql } from '../../core/sql.ts'
import { SqlEngine } from '../../core/sql-engine.ts'
import { listen } from './http-server.ts'

export const keyring = parseKeyring(`k1:${'07'.repeat(32)},k0:${'08'.repeat(32)}`)
const root = keyring.keys[0]

/** Enqueues and claims `count` jobs. */
export async function attempts(sql: postgres.Sql, count: number): Promise<AttemptRef[]> {
  const engine = new SqlEngine(toSql(sql))
  await sql`select millrace.enqueue('resize', '{}') from generate_series(1, ${count})`
  const claimed = await engine.claim(await engine.runtimeStart('test'), count)
  return claimed.map(({ segment, id, attempt }) => ({ segment, id, attempt }))
}

export async function attempt(sql: postgres.Sql): Promise<AttemptRef> {
  const [ref] = await attempts(sql, 1)
  if (ref === undefined) throw new Error('No job could be claimed')
  return ref
}

export interface Calling {
  readonly body?: unknown
  readonly headers?: Record<string, string>
  /** Milliseconds; when the signature says it was made. */
  readonly now?: number
}

/** Text, or a value as JSON; nothing for undefined. */
const bodyText = (body: unknown): string =>
  body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body)

/** Headers of a callback with a bound signature. */
export function boundHeaders(callbackId: string, action: CallbackAction, { body, now }: Calling = {}) {
  const bytes = new TextEncoder().encode(bodyText(body))
  const key = attemptKey(root, callbackId)
  return { 'millrace-signature': signCallback(key, { action, callbackId, body: bytes }, now ?? Date.now()) }
}

/** Headers of a function that echoes what it was sent, as Awa's functions do. */
export const echoedHeaders = (callbackId: string) => ({ 'x-awa-signature': signCompatible(root, callbackId) })

/** An ingress over `sql`, and a client that signs unless it is given other headers. */
export async function startIngress(sql: Sql, options: Partial<CallbacksOptions> = {}) {
  const app = callbacks({ store: new SqlEngine(sql), keyring, ...options })
  const url = await listen(request => app.fetch(request))
  const call = async (of: AttemptRef | string, action: CallbackAction, calling: Calling = {}) => {
    const callbackId = typeof of === 'string' ? of : callbackIdOf(keyring, of)
    const headers = calling.headers ?? boundHeaders(callbackId, action, calling)
    const target = callbackUrl(url, options.prefix, callbackId, action)
    const response = await fetch(target, { method: 'POST', headers, body: bodyText(calling.body) })
    return { status: response.status, headers: response.headers, body: (await response.json()) as Answer }
  }
  return { url, call }
}

interface Answer {
  readonly id?: string
  readonly state?: string
  readonly result?: unknown
  readonly cancel?: true
  readonly result_too_large?: true
  readonly timeout_seconds?: number
  readonly code?: string
  readonly error?: string
}
