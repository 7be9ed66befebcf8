// How long an attempt may go on, as an AbortSignal whose deadline can move.

import { MillraceError } from '../errors.ts'
import type { ReceiverPort } from './port.ts'

export interface Lease {
  readonly signal: AbortSignal
  /** Milliseconds. */
  readonly deadline: number
  /** Moves the deadline, in milliseconds. */
  extend(deadline: number): void
  /** Ends the attempt before its deadline. */
  lose(code: 'cancelled' | 'attempt_closed'): void
  /** Stops the clock once the handler is done. */
  end(): void
}

const REASON = {
  deadline_exceeded: 'The deadline of this attempt is over',
  cancelled: 'The job was cancelled',
  attempt_closed: 'This attempt was closed elsewhere',
} as const

/** `deadline` in milliseconds. */
export function lease(port: ReceiverPort, deadline: number): Lease {
  const abort = new AbortController()
  const over = new AbortController()
  let until = deadline

  const lose = (code: keyof typeof REASON) => {
    over.abort()
    abort.abort(new MillraceError(code, REASON[code]))
  }
  // Each round sleeps to the deadline as it stood then, and looks again whether it has moved.
  const watch = async () => {
    while (!over.signal.aborted && port.now() < until) await port.sleep(until - port.now(), over.signal)
    if (!over.signal.aborted) lose('deadline_exceeded')
  }
  void watch()

  return {
    signal: abort.signal,
    get deadline() {
      return until
    },
    extend: (deadline: number) => {
      until = deadline
    },
    lose,
    end: () => over.abort(),
  }
}
