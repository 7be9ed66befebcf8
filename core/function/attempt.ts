// One attempt in a function, from a trusted dispatch to its end.

import { idempotencyKeyOf } from '../protocol/dispatch-headers.ts'
import { CALLBACK_TIMEOUT_SECONDS } from '../wire.ts'
import { type Beats, beats } from './beats.ts'
import { type Delivered, deliver } from './deliver.ts'
import { callbackOf, type Ending, endingOf, insteadOf } from './ending.ts'
import { eventsOf } from './events.ts'
import type { Handler } from './handler.ts'
import type { Job } from './job.ts'
import { type Lease, lease } from './lease.ts'
import { occurrenceOf } from './occurrence.ts'
import type { Payloads } from './payloads.ts'
import type { ReceiverPort } from './port.ts'
import type { Dispatch } from './receive.ts'

export interface AttemptOptions {
  readonly port: ReceiverPort
  readonly handler: Handler
  readonly dispatch: Dispatch
  readonly payloads: Payloads
  /** What the kind's schema made of the arguments. */
  readonly args: unknown
  /** Between automatic heartbeats; none unless given. */
  readonly heartbeatSeconds: number | undefined
}

/** How the function's word on the end of the attempt was taken. */
export type Conclusion =
  /** Sync mode: it is in the answer to the dispatch. */
  | 'answered'
  /** On record, by this callback or an earlier one of the same kind. */
  | 'recorded'
  /** The attempt had ended otherwise before: cancelled, timed out, closed by another. */
  | 'closed_elsewhere'
  | 'refused'
  | 'undelivered'

/** A callback that the ingress cannot take at first is still worth sending shortly after the deadline. */
const GRACE_MS = 30_000

export interface Concluded {
  readonly ending: Ending
  readonly conclusion: Conclusion
}

/** Sync mode: runs the handler; its ending goes into the answer. Never rejects. */
export const answered = async (options: AttemptOptions): Promise<Concluded> => ({
  ending: (await run(options)).ending,
  conclusion: 'answered',
})

/** Runs the handler while its lease and heartbeats go on. */
async function run(options: AttemptOptions): Promise<{ ending: Ending; beats: Beats; lease: Lease }> {
  const { port, dispatch, handler, args, payloads } = options
  const deadline = deadlineOf(dispatch, port.now())
  const held = lease(port, deadline)
  const windowSeconds = Math.max(1, Math.round((deadline - port.now()) / 1000))
  const { address, body } = dispatch
  const beating = beats({ port, lease: held, address, windowSeconds, payloads, progress: progressIn(body) })
  const done = new AbortController()
  if (address !== undefined) void beatOn(options, beating, done.signal)
  const ending = await payloads.sealed(await endingOf(handler, args, jobOf(dispatch, held, beating)))
  done.abort()
  held.end()
  return { ending, beats: beating, lease: held }
}

/** Callback mode: runs the handler and calls back. Never rejects. */
export async function concluded(options: AttemptOptions): Promise<Concluded> {
  const { ending, beats, lease } = await run(options)
  if (wasLost(lease)) return { ending, conclusion: 'closed_elsewhere' }
  if (ending.kind !== 'completed') await beats.flush()
  const giveUpAt = lease.deadline + GRACE_MS
  const answer = await callBack(options, ending, giveUpAt)
  const conclusion = conclusionOf(answer)
  const instead = conclusion === 'refused' ? insteadOf(ending, answer?.status, answer?.body.error) : undefined
  if (instead === undefined) return { ending, conclusion }
  return { ending: instead, conclusion: conclusionOf(await callBack(options, instead, giveUpAt)) }
}

/** What the ingress answered; undefined when it could not be reached. */
async function callBack(
  { port, dispatch }: AttemptOptions,
  ending: Ending,
  giveUpAt: number,
): Promise<Delivered | undefined> {
  if (dispatch.address === undefined) return undefined
  const { action, body } = callbackOf(ending)
  return deliver(port, dispatch.address, action, body, giveUpAt)
}

function conclusionOf(answer: Delivered | undefined): Conclusion {
  const status = answer?.status
  if (status === undefined || status === 401) return 'undelivered'
  if (status >= 200 && status < 300) return 'recorded'
  return status === 409 || status === 404 ? 'closed_elsewhere' : 'refused'
}

const wasLost = ({ signal }: Lease): boolean => signal.aborted && signal.reason.code !== 'deadline_exceeded'

async function beatOn({ port, heartbeatSeconds }: AttemptOptions, beats: Beats, done: AbortSignal): Promise<void> {
  if (heartbeatSeconds === undefined) return
  for (;;) {
    await port.sleep(heartbeatSeconds * 1000, done)
    if (done.aborted) return
    // One that is missed is made up for by the next; if all are, the deadline ends the attempt.
    await beats.heartbeat().catch(() => undefined)
  }
}

/** Without the events that came, which are nothing to report. */
function progressIn({ progress }: Dispatch['body']): Job['progress'] {
  if (progress?.events === undefined) return progress ?? undefined
  const { events, ...reported } = progress
  return Object.keys(reported).length > 0 ? reported : undefined
}

/** A dispatcher that does not say is Awa's. */
function deadlineOf({ body }: Dispatch, now: number): number {
  const said = Date.parse(body.deadline ?? '')
  return Number.isNaN(said) ? now + CALLBACK_TIMEOUT_SECONDS * 1000 : said
}

function jobOf({ body, eventKey }: Dispatch, lease: Lease, beats: Beats): Job {
  return {
    id: String(body.job_id),
    kind: body.kind,
    queue: body.queue ?? 'default',
    attempt: body.attempt,
    maxAttempts: body.max_attempts,
    enqueuedAt: new Date(body.enqueued_at),
    metadata: body.metadata ?? {},
    schedule: occurrenceOf(body.metadata),
    idempotencyKey: idempotencyKeyOf(String(body.job_id)),
    signal: lease.signal,
    get deadline() {
      return new Date(lease.deadline)
    },
    get progress() {
      return beats.progress
    },
    heartbeat: beats.heartbeat,
    setProgress: beats.setProgress,
    ...eventsOf(body, eventKey, () => beats.progress),
  }
}
