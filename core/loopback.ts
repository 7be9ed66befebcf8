// Loopback: which hosts are this machine itself, and whether a request has come from it.

/** `localhost`, 127.0.0.0/8 or ::1, as in a URL or as an address to listen on. */
export const isLoopbackHost = (host: string): boolean =>
  host === 'localhost' || /^127(\.\d{1,3}){3}$/.test(host) || /^(::ffff:127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(host)

/** Names of headers in which a proxy says for whom it asks. */
const FORWARDED_FOR = ['x-forwarded-for', 'x-real-ip', 'x-client-ip', 'true-client-ip', 'cf-connecting-ip', 'forwarded']

/**
 * Whether it was sent to this machine, by this machine, as far as can be told: the URL's host is loopback, no proxy speaks for
 * somebody else, no page from elsewhere has a browser on this machine ask, and on Node, where `env.incoming` is the request, the other end of its connection is loopback too, since
 * anybody can send a `Host` of their choice.
 */
export function comesFromLoopback(request: Request, env: unknown): boolean {
  const isAskedFor = FORWARDED_FOR.some(name => !isLoopbackHost(request.headers.get(name) ?? 'localhost'))
  const origin = request.headers.get('origin')
  const isFromElsewhere = origin !== null && !isLoopbackHost(URL.parse(origin)?.hostname ?? '')
  const { incoming } = (env ?? {}) as { incoming?: { socket?: { remoteAddress?: string } } }
  const peer = incoming?.socket === undefined ? 'localhost' : (incoming.socket.remoteAddress ?? '')
  return !isAskedFor && !isFromElsewhere && isLoopbackHost(new URL(request.url).hostname) && isLoopbackHost(peer)
}
