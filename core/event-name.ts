// The names of events.

import { MillraceError } from './errors.ts'

/** 1 to 200 characters that Postgres can hold. */
export const isEventName = (name: unknown): name is string =>
  typeof name === 'string' && name !== '' && [...name].length <= 200 && name.isWellFormed() && !name.includes('\0')

/** @throws {MillraceError} `invalid_event` */
export function checkEventName(name: unknown): string {
  if (isEventName(name)) return name
  throw new MillraceError('invalid_event', 'An event has a name of 1 to 200 characters')
}
