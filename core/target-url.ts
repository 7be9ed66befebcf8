// The URLs of targets: `https://…`, or `binding://NAME/path` for a Worker that the dispatcher has a service binding to.

const BINDING = /^binding:\/\/([A-Za-z_]\w{0,99})(\/|$)/i

/** The name of the service binding; undefined for other URLs. */
export const bindingOf = (url: string): string | undefined => BINDING.exec(url)?.[1]

/** What requests go to, and by what they are limited together; undefined for what is no URL of a target. */
export function targetUrlOf(url: string): { readonly origin: string; readonly path: string } | undefined {
  const parsed = URL.parse(url)
  if (parsed === null) return undefined
  const binding = bindingOf(url)
  const origin = binding === undefined ? parsed.origin : `binding://${binding}`
  return { origin, path: (parsed.pathname || '/') + parsed.search }
}
