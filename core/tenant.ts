// Unique keys of tenants, kept apart, so that none finds or blocks another's job.

import { blake3 } from '@noble/hashes/blake3.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'

/** What a unique key may have. */
const LONGEST_KEY = 200
const LONGEST_TENANT = 100

/**
 * A unique key of a tenant's, which can be nobody else's: `tenant:acme:<key>`; what is too long is hashed. One that begins like
 * that already stays as it is.
 */
export function tenantKey(tenant: string, key: string): string {
  const prefix = `tenant:${short(encodeURIComponent(tenant.toWellFormed()), LONGEST_TENANT)}:`
  return key.startsWith(prefix) ? key : `${prefix}${short(key, LONGEST_KEY - prefix.length)}`
}

/** No encoded tenant begins with `#`, so the two forms are never the same. */
const short = (text: string, longest: number): string =>
  [...text].length <= longest ? text : `#${bytesToHex(blake3(utf8ToBytes(text)))}`
