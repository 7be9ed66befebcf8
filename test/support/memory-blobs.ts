// A store of blobs that can be looked into and tampered with.

import type { BlobStore } from 'millrace'

export function memoryBlobs() {
  const objects = new Map<string, Uint8Array>()
  const store: BlobStore = {
    put: async (key, bytes) => void objects.set(key, bytes),
    get: async key => objects.get(key),
  }
  return { store, objects }
}
