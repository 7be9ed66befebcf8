// Payloads in R2, through a Worker's binding.

import type { BlobStore } from '../../core/claim-check.ts'

/** What is used of a Worker's R2 binding. */
export interface R2Bucket {
  put(key: string, bytes: Uint8Array): Promise<unknown>
  get(key: string): Promise<{ arrayBuffer(): Promise<ArrayBuffer> } | null>
}

/**
 * A {@link BlobStore} in an R2 bucket.
 *
 * @example
 * serve({ kinds, codec: env => claimCheck({ store: r2BlobStore(env.PAYLOADS) }), dispatchKeys: env => env.DISPATCH_KEYS })
 */
export const r2BlobStore = (bucket: R2Bucket): BlobStore => ({
  async put(key, bytes) {
    await bucket.put(key, bytes)
  },
  async get(key) {
    const found = await bucket.get(key)
    return found === null ? undefined : new Uint8Array(await found.arrayBuffer())
  },
})
