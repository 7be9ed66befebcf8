// Who asks, as Cloudflare says, and what one of them may ask of a Worker.

import { type ClientOf, type RequestLimits, requestLimits } from '../../core/request-limits.ts'

/** An isolate has 128 MB for everything. */
const BODY_BYTES = 32 * 1024 * 1024

/**
 * For `requestLimits`: `CF-Connecting-IP`, which Cloudflare sets and nobody else can. An IPv6 address stands for its network of
 * 64 bits, which is what one customer has.
 */
export const cloudflareClient: ClientOf = request => {
  const address = request.headers.get('cf-connecting-ip')
  if (address === null || address === '') return undefined
  return address.includes(':') ? networkOf(address) : address
}

/** The first four groups, however the address is written. */
function networkOf(address: string): string {
  const [head = '', tail] = address.toLowerCase().split('::')
  const [before, after] = [head, tail ?? ''].map(part => part.split(':').filter(group => group !== ''))
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - (before?.length ?? 0) - (after?.length ?? 0))
  const groups = [...(before ?? []), ...new Array<string>(zeros).fill('0'), ...(after ?? [])]
  return `${groups.slice(0, 4).join(':')}::/64`
}

/** What holds unless a Worker is given limits of its own. Each isolate counts for itself. */
export const workerLimits = (): RequestLimits => requestLimits({ clientOf: cloudflareClient, bodyBytes: BODY_BYTES })
