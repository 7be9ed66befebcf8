// Sends a job the event that it is about to wait for, by the URL that its function makes of what came with the dispatch.

import { eventToken } from 'millrace/protocol'
import type { Entry, Note } from './journal.ts'
import type { Sent } from './sender.ts'

export interface Destination {
  readonly job: string
  readonly attempt: number
  readonly name: string
  readonly eventsUrl: string
  readonly eventKey: string
}

const TIMEOUT_MS = 5_000
let count = 0

/** Once: nobody may ever hear what became of it. */
export async function sendOwnEvent(
  { job, attempt, name, eventsUrl, eventKey }: Destination,
  note: Note,
): Promise<void> {
  const nonce = `f${process.pid}:${count++}`
  note({ what: 'sends', nonce, job, attempt, name })
  const response = await fetch(`${eventsUrl}/${eventToken(eventKey, job, name)}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ nonce, ok: true, error: nonce }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).catch(() => undefined)
  const body = (await response?.json().catch(() => undefined)) as { state?: string; code?: string } | undefined
  const answer = body?.state ?? body?.code
  if (answer !== undefined && response && response.status < 500) note({ what: 'sent', nonce, answer })
}

/** What functions have sent, as the sender tells of its own. */
export function ownEvents(journal: readonly Entry[]): Sent[] {
  const answers = new Map(journal.flatMap(entry => (entry.what === 'sent' ? [[entry.nonce, entry.answer]] : [])))
  return journal.flatMap(entry => {
    if (entry.what !== 'sends') return []
    const { nonce, job, name } = entry
    const answer = answers.get(nonce)
    return [{ nonce, job, name, action: 'event', ok: true, via: 'url', ...(answer && { answer }) }]
  })
}
