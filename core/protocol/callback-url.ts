// Where callbacks go: `{base}{prefix}/{callback id}/{action}`, normalised as Awa does.

import { CALLBACK_PREFIX, type CallbackAction } from '../wire.ts'

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
): string => `${base.trim().replace(/\/+$/, '')}${normalizePrefix(prefix ?? CALLBACK_PREFIX)}/${callbackId}/${action}`
