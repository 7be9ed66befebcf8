// Functions that wait, on a real database, behind a real dispatcher and a real ingress.

import { toSql, waitFor } from 'millrace'
import { callbacks } from 'millrace/callbacks'
import { defineKind, type Handler, handle, type Job, type ReceiverEvent, serve } from 'millrace/function'
import { SqlEngine } from 'millrace/maintenance'
import { deriveDispatchKeyring, formatKeyring } from 'millrace/protocol'
import * as v from 'valibot'
import { listen } from './http-server.ts'
import { keyring } from './ingress.ts'
import { freshDatabase, type Maintaining } from './maintenance.ts'
import { Recorder } from './maintenance-recorder.ts'

export type Mode = 'callback' | 'sync'
export const MODES: readonly Mode[] = ['callback', 'sync']

const order = defineKind({ name: 'order', args: v.any() })

/** Everything that a job of the kind `order` needs, with this handler; `maxAttempts` is 1, so that nothing is hidden by a retry. */
export async function startWaiting(
  mode: Mode,
  run: (job: Job, args: unknown) => unknown,
  kind: object = {},
  maintaining: Maintaining = {},
) {
  const database = await freshDatabase()
  const ingress = await listen(callbacks({ store: new SqlEngine(toSql(database.sql)), keyring }).fetch)
  const finished = new Recorder<ReceiverEvent>()
  const handlers: Handler[] = [handle(order, (args, job) => run(job, args))]
  const dispatchKeys = formatKeyring(deriveDispatchKeyring(keyring))
  const receiver = serve({ kinds: handlers, dispatchKeys, onEvent: finished.push })
  const url = await listen(request => receiver.fetch(request))
  await database.declare([{ name: 'order', target: { url, mode }, maxAttempts: 1, ...kind }])
  const maintenance = await database.maintain({ callbackUrl: ingress, listen: true, ...maintaining })

  /** Resolves with the job once it has ended, which must be so. */
  const until = async (id: string, state: string) => {
    const job = await waitFor(database.sql, id, { timeoutSeconds: 15, pollMs: 50 })
    if (job.state !== state) throw new Error(`Job ${id} is ${job.state}: ${JSON.stringify(job.errors)}`)
    return job
  }
  /** Resolves once the wait is on record. */
  const waits = async (id: string, name = 'payment') => {
    if (mode === 'sync') return void (await maintenance.events.first({ type: 'waiting', job: id, name }))
    await finished.first(
      event =>
        event.type === 'finished' &&
        event.jobId === id &&
        event.conclusion === 'recorded' &&
        event.ending.kind === 'waiting' &&
        event.ending.wait.name === name,
    )
  }
  /** Lets the waits time out, as if the time had passed. */
  const timeOut = () => database.sql`
    with past as (update millrace.wait set deadline = now() - interval '1 second')
    update millrace.attempt_state set deadline = now() - interval '1 second'`
  return { ...database, ingress, finished, maintenance, until, waits, timeOut }
}

/** POSTs JSON, or a text as it stands. */
export const post = async (url: string, body?: unknown, headers: Record<string, string> = {}) => {
  const text = typeof body === 'string' || body === undefined ? body : JSON.stringify(body)
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    ...(text !== undefined && { body: text }),
  })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}
