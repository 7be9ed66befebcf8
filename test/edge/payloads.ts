// A Worker that keeps large payloads in R2: what is posted is encoded, and decoded again.

import { claimCheck, encryptedPayloads } from 'millrace'
import { type R2Bucket, r2BlobStore } from 'millrace/cloudflare'

interface Env {
  readonly PAYLOADS: R2Bucket & { list(): Promise<{ objects: { key: string; size: number }[] }> }
  readonly MILLRACE_DATA_KEYS: string
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const codec = claimCheck({
      store: r2BlobStore(env.PAYLOADS),
      thresholdBytes: 1_000,
      codec: encryptedPayloads(env.MILLRACE_DATA_KEYS),
    })
    const context = { kind: 'render' }
    const { pathname } = new URL(request.url)
    if (pathname === '/encode') return new Response(await codec.encode(await request.text(), context))
    if (pathname === '/decode') return Response.json(await codec.decode(await request.json(), context))
    return Response.json((await env.PAYLOADS.list()).objects.map(({ key, size }) => ({ key, size })))
  },
}
