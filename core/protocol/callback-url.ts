// Where callbacks go: `{base}{prefix}/{callback id}/{action}`, normalised as Awa does.

import { CALLBACK_PREFIX, type CallbackAction, EVENTS_PREFIX } from '../wire.ts'

/** Blanks around and slashes at the end go, a slash at the start comes; a blank prefix stays blank. */
export function normalizePrefix(prefix: string): string {
  const path = prefix.trim().replace(/^\/+|\/+$/g, '')
  return path === '' ? '' : `/${path}`
}

/**
 * The URL of one callback.
 *
 * @example callbackUrl('https://jobs.example.com/', undefined, id, 'complete')
 */
export const callbackUrl = (
  base: string,
  prefix: string | undefined,
  callbackId: string,
  action: CallbackAction,
): string => `${trimmed(base)}${normalizePrefix(prefix ?? CALLBACK_PREFIX)}/${callbackId}/${action}`

/** Where events by token go; the token comes after it. */
export const eventsUrl = (base: string, prefix?: string): string =>
  `${trimmed(base)}${normalizePrefix(prefix ?? EVENTS_PREFIX)}`

const trimmed = (base: string): string => base.trim().replace(/\/+$/, '')
