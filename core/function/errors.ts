// What a handler throws to say more than "it failed".

import { MillraceError } from '../errors.ts'
import type { WaitBody } from '../wire.ts'

/** The job fails at once, however many attempts are left. Its code is `non_retryable`. */
export class NonRetryableError extends MillraceError {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super('non_retryable', message, options)
    this.name = 'NonRetryableError'
  }
}

/**
 * The job is put back and tried again after `seconds`, without using up an attempt, until that has gone on for too
 * long; for work that cannot be done now, such as a throttled upstream. Its code is `retry_later`.
 *
 * @throws {RangeError} unless `seconds` is between 0 and 30 days
 */
export class RetryLaterError extends MillraceError {
  readonly seconds: number

  constructor(seconds: number, message = `Try again in ${seconds} s`, options: { cause?: unknown } = {}) {
    super('retry_later', message, options)
    this.name = 'RetryLaterError'
    this.seconds = checked(seconds)
  }
}

/**
 * The job is put off for `seconds` (a second at least): that is no failure, costs no attempt, and may be done as often as
 * wanted; for work that waits for something, such as a poll of another system. Progress is kept. Its code is `snoozed`.
 *
 * @throws {RangeError} unless `seconds` is between 0 and 30 days
 * @example
 * if (!(await isReady(order))) throw new SnoozeError(60)
 */
export class SnoozeError extends MillraceError {
  readonly seconds: number

  constructor(seconds: number, message = `Again in ${seconds} s`) {
    super('snoozed', message)
    this.name = 'SnoozeError'
    this.seconds = checked(seconds)
  }
}

/**
 * Ends the attempt as waiting for an event: what `job.waitForEvent` throws, and no failure. A handler that catches all errors
 * must throw it on. Its code is `waiting`.
 */
export class WaitSignal extends MillraceError {
  readonly wait: WaitBody

  constructor(wait: WaitBody) {
    super('waiting', `Waits for the event ${wait.name}`)
    this.name = 'WaitSignal'
    this.wait = wait
  }
}

function checked(seconds: number): number {
  if (seconds >= 0 && seconds <= 30 * 86_400) return seconds
  throw new RangeError('seconds must be between 0 and 30 days')
}
