// Who asks, as far as a Node server can tell: the other end of the connection, or whom trusted proxies speak for.

import type { IncomingMessage } from 'node:http'
import ipaddr from 'ipaddr.js'
import type { ClientOf } from '../../core/request-limits.ts'

/**
 * For `requestLimits`: the address of the connection; behind so many `trustedProxies`, each of which appends to
 * `X-Forwarded-For`, the one that the outermost of them has seen. Whoever is said to ask farther out may have made that up.
 * An IPv6 address stands for its network of 64 bits, which is what one customer has.
 *
 * @example
 * const limits = requestLimits({ clientOf: clientAddress(1) }) // behind one load balancer
 */
export const clientAddress =
  (trustedProxies = 0): ClientOf =>
  (request, env) => {
    const { incoming } = (env ?? {}) as { incoming?: IncomingMessage }
    const peer = incoming?.socket?.remoteAddress
    const said = trustedProxies > 0 ? forwardedFor(request.headers.get('x-forwarded-for')) : []
    const hops = [...said, peer ?? '']
    return networkOf(hops.at(-1 - trustedProxies) ?? hops[0] ?? '') ?? networkOf(peer ?? '')
  }

const forwardedFor = (header: string | null): string[] => header?.split(',').map(part => part.trim()) ?? []

/** Made anew, so that no part of a large header stays in memory with it. */
function networkOf(text: string): string | undefined {
  // Some proxies add the port.
  const address = text.replace(/^(\d+(?:\.\d+){3}):\d+$/, '$1')
  if (!ipaddr.isValid(address)) return undefined
  const parsed = ipaddr.process(address)
  if (parsed.kind() === 'ipv4') return parsed.toString()
  return `${(parsed as ipaddr.IPv6).parts
    .slice(0, 4)
    .map(part => part.toString(16))
    .join(':')}::/64`
}
