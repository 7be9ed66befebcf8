// Calls back as a patient function does: until the ingress has given its last word, which goes into the journal.

import { setTimeout as wait } from 'node:timers/promises'
import { HEADER, signCallback } from 'millrace/protocol'
import type { Note } from './journal.ts'

export interface Dispatch {
  readonly job: string
  readonly attempt: number
  readonly url: string
  readonly id: string
  /** Awa's bearer header. */
  readonly signature: string
  /** What callbacks are signed with; without it the bearer header has to do. */
  readonly key: string | undefined
}

type Action = 'complete' | 'fail' | 'heartbeat' | 'wait'

const TRIES = 60
const PAUSE_MS = 150
const TIMEOUT_MS = 5_000

/** The callbacks of one attempt. Each resolves once it is known what became of it, or there is no use in trying on. */
export function callbacksOf(dispatch: Dispatch, note: Note) {
  const { job, attempt, url, id } = dispatch
  let count = 0
  const call = async (action: Action, body: object, nonce: string): Promise<void> => {
    const text = JSON.stringify(body)
    const answer = await persist(url.replace(/complete$/, action), () => ({
      method: 'POST',
      headers: { 'content-type': 'application/json', ...proof(dispatch, action, text) },
      body: text,
    }))
    if (answer?.status === 401) note({ what: 'unauthorized', where: action, job, attempt })
    if (answer?.status !== 200 || action === 'heartbeat') return
    const { state, result } = answer.body as { state: string; result?: unknown }
    if (action === 'wait') return note({ what: 'asked', job, attempt, name: nonce, state })
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
    wait: (body: object) => call('wait', body, (body as { name: string }).name),
  }
}

function proof({ id, signature, key }: Dispatch, action: Action, text: string): Record<string, string> {
  if (key === undefined) return { [HEADER.compatibleSignature]: signature }
  const body = new TextEncoder().encode(text)
  return { [HEADER.signature]: signCallback(key, { action, callbackId: id, body }, Date.now()) }
}

export type Callbacks = ReturnType<typeof callbacksOf>

async function persist(url: string, request: () => RequestInit) {
  for (let nth = 0; nth < TRIES; nth++) {
    const answer = await once(url, request()).catch(() => undefined)
    if (answer !== undefined && answer.status !== 429 && answer.status < 500) return answer
    await wait(PAUSE_MS)
  }
  return undefined
}

async function once(url: string, request: RequestInit) {
  const response = await fetch(url, { ...request, signal: AbortSignal.timeout(TIMEOUT_MS) })
  return { status: response.status, body: (await response.json()) as unknown }
}
