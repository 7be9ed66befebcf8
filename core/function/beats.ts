// Heartbeats and progress of one running attempt.

import { MillraceError } from '../errors.ts'
import type { HeartbeatBody, Progress } from '../wire.ts'
import { type CallbackAddress, type Delivered, deliver } from './deliver.ts'
import type { Lease } from './lease.ts'
import type { Payloads } from './payloads.ts'
import type { ReceiverPort } from './port.ts'

/** A heartbeat that does not get through in this time is given up; the next one tells the same. */
const PATIENCE_MS = 10_000

export interface Beats {
  readonly progress: Progress | undefined
  /** @throws {MillraceError} `callback_undelivered` */
  heartbeat(options?: { readonly timeoutSeconds?: number }): Promise<void>
  setProgress(progress: Progress): Promise<void>
  /** Sends what {@link setProgress} could not send so far; a checkpoint matters most to the next attempt. */
  flush(): Promise<void>
}

export interface BeatsOptions {
  readonly port: ReceiverPort
  readonly lease: Lease
  /** Missing in sync mode. */
  readonly address: CallbackAddress | undefined
  /** How far a heartbeat moves the deadline unless it says otherwise. */
  readonly windowSeconds: number
  readonly progress: Progress | undefined
  readonly payloads: Payloads
}

export function beats(options: BeatsOptions): Beats {
  const { port, lease, address, windowSeconds, payloads } = options
  let progress = options.progress
  let unsent = false
  let sending: Promise<void> | undefined

  const heartbeat: Beats['heartbeat'] = async ({ timeoutSeconds = windowSeconds } = {}) => {
    if (address === undefined || lease.signal.aborted) return
    const carried = unsent ? progress : undefined
    // A heartbeat is not missed for a checkpoint that cannot be encoded; that goes with the next one.
    const sealed = carried && (await payloads.checkpoint(carried).catch(() => undefined))
    if (sealed !== undefined && carried === progress) unsent = false
    const began = port.now()
    const body: HeartbeatBody = { timeout_seconds: timeoutSeconds, ...(sealed && { progress: sealed }) }
    const giveUpAt = Math.min(lease.deadline, began + PATIENCE_MS)
    const answer = await deliver(port, address, 'heartbeat', JSON.stringify(body), giveUpAt)
    if (answer?.status !== 200) unsent ||= carried !== undefined
    heed(answer, lease, began, timeoutSeconds)
  }

  const send = async () => {
    await heartbeat().catch(() => undefined)
    sending = undefined
  }

  return {
    get progress() {
      return progress
    },
    heartbeat,
    async setProgress(update) {
      progress = merged(progress, update)
      unsent = true
      await sending
      sending ??= send()
      await sending
    },
    async flush() {
      if (unsent) await heartbeat().catch(() => undefined)
    },
  }
}

/** What the ingress says to a heartbeat decides how long the attempt goes on. */
function heed(answer: Delivered | undefined, lease: Lease, began: number, asked: number): void {
  if (answer?.status === 200 && answer.body.cancel === true) lease.lose('cancelled')
  else if (answer?.status === 200) lease.extend(began + 1000 * granted(answer, asked))
  else if (answer?.status === 409 || answer?.status === 404) lease.lose('attempt_closed')
  else throw undelivered(answer?.status)
}

/** A kind's time limit may leave less than was asked for. */
const granted = ({ body }: Delivered, asked: number): number =>
  typeof body.timeout_seconds === 'number' ? body.timeout_seconds : asked

function undelivered(status: number | undefined): MillraceError {
  const what = status === undefined ? 'the ingress could not be reached' : `the ingress answered ${status}`
  return new MillraceError('callback_undelivered', `Heartbeat not delivered: ${what}`)
}

function merged(before: Progress | undefined, update: Progress): Progress {
  const metadata = { ...before?.metadata, ...update.metadata }
  const said = Object.fromEntries(Object.entries(update).filter(([, value]) => value !== undefined))
  return { ...before, ...said, ...(Object.keys(metadata).length > 0 && { metadata }) }
}
