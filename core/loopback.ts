// Loopback: which hosts are this machine itself, and whether a request has come from it.

/** `localhost`, 127.0.0.0/8 or ::1, as in a URL or as an address to listen on. */
export const isLoopbackHost = (host: string): boolean =>
  host === 'localhost' || /^127(\.\d{1,3}){3}$/.test(host) || /^(::ffff:127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(host)

/** Names of headers in which a proxy says for whom it asks. */
const FORWARDED_FOR = ['x-forwarded-for', 'cf-connecting-ip', 'forwarded']

/**
 * Whether it was sent to this machine, by this machine, as far as can be told: the URL's host is loopback, no proxy speaks for
 * somebody else, and on Node, where `env.incoming` is the request, the other end of its connection is loopback too, since
 * anybody can send a `Host` of their choice.
 */
export function comesFromLoopback(request: Request, env: unknown): boolean {
  const isAskedFor = FORWARDED_FOR.some(name => !isLoopbackHost(request.headers.get(name) ?? 'localhost'))
  const { incoming } = (env ?? {}) as { incoming?: { socket?: { remoteAddress?: string } } }
  const peer = incoming?.socket === undefined ? 'localhost' : (incoming.socket.remoteAddress ?? '')
  return !isAskedFor && isLoopbackHost(new URL(request.url).hostname) && isLoopbackHost(peer)
}
