// How long an attempt may go on, as an AbortSignal whose deadline can move.

import { MillraceError } from '../errors.ts'
import type { ReceiverPort } from './port.ts'

export interface Lease {
  readonly signal: AbortSignal
  /** Milliseconds. */
  readonly deadline: number
  /** Moves the deadline, to and fro, in milliseconds. */
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
  /** Ends the watch's present sleep. */
  let nap = new AbortController()
  let isOver = false
  let until = deadline

  const end = () => {
    isOver = true
    nap.abort()
  }
  const lose = (code: keyof typeof REASON) => {
    end()
    abort.abort(new MillraceError(code, REASON[code]))
  }
  // Each round sleeps to the deadline as it stood then, and looks again whether it has moved.
  const watch = async () => {
    while (!isOver && port.now() < until) {
      nap = new AbortController()
      await port.sleep(until - port.now(), nap.signal)
    }
    if (!isOver) lose('deadline_exceeded')
  }
  void watch()

  return {
    signal: abort.signal,
    get deadline() {
      return until
    },
    extend: (deadline: number) => {
      const isEarlier = deadline < until
      until = deadline
      if (isEarlier) nap.abort()
    },
    lose,
    end,
  }
}
