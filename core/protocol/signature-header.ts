// The Millrace-Signature header: `t=<unix s>[,kid=<key id>],v1=<hex>`, and how old it may be.

import { unhex32 } from './bytes.ts'

/** How far a timestamp may be from the verifier's clock, in seconds, either way. */
export const TOLERANCE_SECONDS = 300

/** Stale is said of correctly signed messages only, so that a forger learns nothing from it. */
export type Verdict = 'valid' | 'invalid_signature' | 'stale_timestamp'

export interface SignatureHeader {
  /** Unix time in seconds. */
  readonly t: number
  readonly kid: string | undefined
  readonly v1: Uint8Array
}

/** Items it does not know are skipped, so that a later version can be sent beside `v1`; known ones must be unique. */
export function parseSignature(text: string): SignatureHeader | undefined {
  if (text.length > 512) return undefined
  const items = new Map<string, string>()
  for (const item of text.split(',')) {
    const at = item.indexOf('=')
    const name = item.slice(0, at).trim()
    if (at < 0 || items.has(name)) return undefined
    items.set(name, item.slice(at + 1).trim())
  }
  const t = items.get('t') ?? ''
  const v1 = unhex32(items.get('v1') ?? '')
  // One spelling of the time, because it is signed as text.
  if (v1 === undefined || !/^[1-9][0-9]{0,11}$/.test(t)) return undefined
  return { t: Number(t), kid: items.get('kid'), v1 }
}

/** `now` in milliseconds. */
export const isFresh = (t: number, now: number, toleranceSeconds: number = TOLERANCE_SECONDS): boolean =>
  Math.abs(Math.floor(now / 1000) - t) <= toleranceSeconds
