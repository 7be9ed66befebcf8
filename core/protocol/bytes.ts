// Bytes, hex and keyed hashes: the few primitives every signature is made of.

import { blake3 } from '@noble/hashes/blake3.js'
import { bytesToHex, hexToBytes } from '@noble/hashes/utils.js'

const encoder = new TextEncoder()

export const utf8 = (text: string): Uint8Array => encoder.encode(text)

export const hex = (bytes: Uint8Array): string => bytesToHex(bytes)

/** Exactly 32 bytes as hex in either case, or undefined. */
export const unhex32 = (text: string): Uint8Array | undefined =>
  /^[0-9a-fA-F]{64}$/.test(text) ? hexToBytes(text) : undefined

/** Compares in a time that depends on the lengths alone. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= (a[i] as number) ^ (b[i] as number)
  return difference === 0
}

/** BLAKE3 keyed hash of `text`'s UTF-8 bytes followed by `bytes`. */
export type Mac = (text: string, bytes?: Uint8Array) => Uint8Array

/**
 * A MAC for many messages under one 32-byte key. Setting a hash up costs as much as hashing a short message, so one
 * prepared state is copied into one scratch hash again and again: twice as many short hashes in the same time.
 */
export function macUnder(key: Uint8Array): Mac {
  const prepared = blake3.create({ key })
  let scratch: ReturnType<typeof blake3.create> | undefined
  return (text, bytes) => {
    scratch = prepared._cloneInto(scratch as never)
    scratch.update(utf8(text))
    if (bytes !== undefined) scratch.update(bytes)
    return scratch.digest()
  }
}

/** The same MAC for a key that is used once or twice. */
export function macOnce(key: Uint8Array, text: string, bytes?: Uint8Array): Uint8Array {
  const hash = blake3.create({ key }).update(utf8(text))
  if (bytes !== undefined) hash.update(bytes)
  return hash.digest()
}

/** BLAKE3's derive-key mode: a 32-byte key for one use, named by a context string that is never built from input. */
export const deriveKey = (material: Uint8Array, context: string): Uint8Array =>
  blake3(material, { context: utf8(context) })
