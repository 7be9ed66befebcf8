// Claim checks: large payloads go into a store of blobs, and a reference to them travels and is kept in Postgres instead.

import { blake3 } from '@noble/hashes/blake3.js'
import { codecFailed, envelopeIn, MARKS, type PayloadCodec, type PayloadContext } from './codec.ts'
import type { Json } from './json.ts'
import { hex, utf8 } from './protocol/bytes.ts'

/** Where blobs are kept: S3, R2, a folder. Both may reject with whatever error they have. */
export interface BlobStore {
  put(key: string, bytes: Uint8Array): Promise<void>
  /** Undefined when there is none with that key. */
  get(key: string): Promise<Uint8Array | undefined>
}

export interface ClaimCheckOptions {
  readonly store: BlobStore
  /** Payloads of more bytes than this go into the store: 64 KiB. */
  readonly thresholdBytes?: number | undefined
  /** Encodes first what is stored, and what is not. */
  readonly codec?: PayloadCodec | undefined
  /** What keys begin with: `millrace/`. */
  readonly prefix?: string | undefined
  /** Larger ones are not fetched: 64 MiB. */
  readonly maxBytes?: number | undefined
}

const MARK = MARKS.reference
const THRESHOLD_BYTES = 64 * 1024
const MAX_BYTES = 64 * 1024 * 1024

interface Reference {
  readonly key: string
  readonly bytes: number
  readonly blake3: string
}

/**
 * Puts large payloads into a store and sends a reference to them. A key is the BLAKE3 hash of the blob and 128 random bits, so
 * that nobody who knows a payload knows where it is; what is fetched is checked against length and hash. Millrace deletes
 * nothing there: let the store expire blobs, later than the jobs.
 *
 * @example
 * const codec = claimCheck({ store: r2BlobStore(env.PAYLOADS), codec: encryptedPayloads(env.MILLRACE_DATA_KEYS) })
 */
export function claimCheck(options: ClaimCheckOptions): PayloadCodec {
  const { codec, thresholdBytes = THRESHOLD_BYTES } = options
  const blobs = new Blobs(options)
  return {
    async encode(text, context) {
      const encoded = codec === undefined ? text : await codec.encode(text, context)
      const bytes = utf8(encoded)
      // A payload that looks like a reference must not be taken for one.
      if (bytes.length <= thresholdBytes && !encoded.includes(MARK)) return encoded
      return JSON.stringify({ [MARK]: 'v1', ...(await blobs.put(bytes, context)) })
    },
    async decode(value, context) {
      const reference = envelopeIn<Reference>(value, MARK)
      const encoded = reference === undefined ? value : await blobs.get(reference, context)
      return codec === undefined ? encoded : codec.decode(encoded, context)
    },
  }
}

/** A store of which nothing is believed. */
class Blobs {
  readonly #store: BlobStore
  readonly #prefix: string
  readonly #maxBytes: number

  constructor({ store, prefix = 'millrace/', maxBytes = MAX_BYTES }: ClaimCheckOptions) {
    this.#store = store
    this.#prefix = prefix
    this.#maxBytes = maxBytes
  }

  async put(bytes: Uint8Array, { kind }: PayloadContext): Promise<Reference> {
    if (bytes.length > this.#maxBytes) {
      codecFailed(`A payload of "${kind}" has ${bytes.length} bytes, the limit is ${this.#maxBytes}`)
    }
    const hash = hex(blake3(bytes))
    const key = `${this.#prefix}${hash}-${hex(crypto.getRandomValues(new Uint8Array(16)))}`
    await asked(`A payload of "${kind}" could not be stored`, () => this.#store.put(key, bytes))
    return { key, bytes: bytes.length, blake3: hash }
  }

  async get(reference: Partial<Reference>, { kind }: PayloadContext): Promise<Json> {
    const { key, bytes: length, blake3: hash } = reference
    if (!this.#isOurs(key) || !(Number(length) <= this.#maxBytes)) {
      codecFailed(`The reference to a payload of "${kind}" is none that is made here`)
    }
    const bytes = await asked(`A payload of "${kind}" could not be fetched`, () => this.#store.get(String(key)))
    if (bytes === undefined) return codecFailed(`A payload of "${kind}" is not in the store (any more)`)
    if (bytes.length !== length || hex(blake3(bytes)) !== hash) {
      codecFailed(`A payload of "${kind}" is not what was stored`)
    }
    return JSON.parse(new TextDecoder().decode(bytes))
  }

  /** Whoever made the reference up gets at nothing else in the store. */
  #isOurs(key: unknown): boolean {
    if (typeof key !== 'string' || !key.startsWith(this.#prefix)) return false
    return /^[0-9a-f]{64}-[0-9a-f]{32}$/.test(key.slice(this.#prefix.length))
  }
}

async function asked<T>(otherwise: string, store: () => Promise<T>): Promise<T> {
  try {
    return await store()
  } catch (cause) {
    return codecFailed(`${otherwise}: ${(cause as Error)?.message}`, { cause })
  }
}
