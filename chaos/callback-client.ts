// Calls back as a patient function does: until the ingress has given its last word, which goes into the journal.

import { setTimeout as wait } from 'node:timers/promises'
import type { Note } from './journal.ts'

export interface Dispatch {
  readonly job: string
  readonly attempt: number
  readonly url: string
  readonly id: string
  /** Awa's bearer header. */
  readonly signature: string
}

type Action = 'complete' | 'fail' | 'heartbeat'

const TRIES = 60
const PAUSE_MS = 150
const TIMEOUT_MS = 5_000

/** The callbacks of one attempt. Each resolves once it is known what became of it, or there is no use in trying on. */
export function callbacksOf({ job, attempt, url, id, signature }: Dispatch, note: Note) {
  let count = 0
  const call = async (action: Action, body: object, nonce: string): Promise<void> => {
    const target = url.replace(/complete$/, action)
    const headers = { 'content-type': 'application/json', 'x-awa-signature': signature }
    const request = { method: 'POST', headers, body: JSON.stringify(body) }
    const answer = await persist(target, request)
    if (answer?.status !== 200 || action === 'heartbeat') return
    const { state, result } = answer.body as { state: string; result?: unknown }
    note({ what: 'heard', job, attempt, action, state, fresh: result === undefined, nonce })
  }
  return {
    id,
    complete(): Promise<void> {
      const nonce = `${process.pid}:${job}:${attempt}:${count++}`
      note({ what: 'says', job, attempt, nonce })
      return call('complete', { payload: { nonce } }, nonce)
    },
    fail: (body: { retryable?: boolean; retry_after_seconds?: number }) =>
      call('fail', { error: 'chaos', ...body }, 'fail'),
    heartbeat: (timeout_seconds: number) => call('heartbeat', { timeout_seconds, progress: { percent: 50 } }, 'beat'),
  }
}

export type Callbacks = ReturnType<typeof callbacksOf>

async function persist(url: string, request: RequestInit) {
  for (let nth = 0; nth < TRIES; nth++) {
    const answer = await once(url, request).catch(() => undefined)
    if (answer !== undefined && answer.status !== 429 && answer.status < 500) return answer
    await wait(PAUSE_MS)
  }
  return undefined
}

async function once(url: string, request: RequestInit) {
  const response = await fetch(url, { ...request, signal: AbortSignal.timeout(TIMEOUT_MS) })
  return { status: response.status, body: (await response.json()) as unknown }
}
