// Event tokens: capabilities that let one named event of one job in, made by the function that will wait for it.

import { MillraceError } from '../errors.ts'
import { isEventName } from '../event-name.ts'
import type { EventAction } from '../wire.ts'
import { base64url, unbase64url } from './base64.ts'
import { equalBytes, hex, macOnce, unhex32, utf8 } from './bytes.ts'
import { eventKeyMac, findKey, type Keyring, type SigningKey } from './keyring.ts'

/** What a token says. */
export interface EventToken {
  readonly jobId: string
  readonly name: string
}

const FORM = /^([A-Za-z0-9_-]{1,32})\.([1-9][0-9]{0,18})\.([A-Za-z0-9_-]{2,1100})\.([0-9a-f]{64})$/
const INT8_MAX = '9223372036854775807'

/**
 * What a job's tokens are made with, `<key id>:<hex>`: a function gets it in the header `Millrace-Event-Key`. It opens
 * no other job, and nothing else of this one.
 */
export const eventKey = (root: SigningKey, jobId: string): string => `${root.kid}:${hex(eventKeyMac(root)(jobId))}`

/**
 * The token of a named event, `<key id>.<job id>.<base64url of the name>.<hex>`. It needs no escaping in a URL and does not
 * expire; whoever has it can send the event, with this action and no other: one for `event` cannot get round a wait's rules.
 *
 * @throws {MillraceError} `invalid_event` for a name that is none, `invalid_keyring` for a key that is none
 */
export function eventToken(eventKey: string, jobId: string, name: string, action: EventAction = 'event'): string {
  const [kid = '', digits = ''] = eventKey.split(':')
  const key = unhex32(digits)
  if (key === undefined) throw new MillraceError('invalid_keyring', 'An event key is <key id>:<64 hex digits>')
  const token = `${kid}.${jobId}.${base64url(utf8(name))}.${hex(macOnce(key, signedText(action, name)))}`
  if (!isEventName(name) || !FORM.test(token)) {
    throw new MillraceError('invalid_event', 'A token is for an event whose name has 1 to 200 characters')
  }
  return token
}

/**
 * Reads a token that was made for this action under one of these keys. Every one has exactly one spelling; anything else is
 * undefined.
 */
export function readEventToken(keyring: Keyring, token: string, action: EventAction = 'event'): EventToken | undefined {
  const parts = FORM.exec(token)
  if (parts === null) return undefined
  const [, kid, jobId, encoded, mac] = parts as unknown as [string, string, string, string, string]
  const name = nameIn(encoded)
  const root = findKey(keyring, kid)
  if (root === undefined || name === undefined || (jobId.length === INT8_MAX.length && jobId > INT8_MAX))
    return undefined
  const expected = macOnce(eventKeyMac(root)(jobId), signedText(action, name))
  return equalBytes(expected, unhex32(mac) as Uint8Array) ? { jobId, name } : undefined
}

/** No action has a line break in it, so no two pairs are one text. */
const signedText = (action: EventAction, name: string): string => `${action}\n${name}`

function nameIn(encoded: string): string | undefined {
  const bytes = unbase64url(encoded)
  if (bytes === undefined || base64url(bytes) !== encoded) return undefined
  try {
    const name = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    return isEventName(name) ? name : undefined
  } catch {
    return undefined
  }
}
