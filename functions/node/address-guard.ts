// Connections that go to vetted addresses only: names are resolved here, every address is checked, and one of them is used.

import { promises as dns, type LookupAddress, type LookupAllOptions } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import { buildConnector } from 'undici'
import { TransportError } from '../../core/dispatch/transport.ts'
import { type AllowedTargets, type TargetGuard, targetGuard, tlsRequired } from '../../core/target-guard.ts'

/** All addresses of a name. */
export type Resolve = (hostname: string, options: LookupAllOptions) => Promise<LookupAddress[]>

export interface GuardedConnections {
  readonly allow?: AllowedTargets | undefined
  /** The system's resolver unless given. */
  readonly resolve?: Resolve | undefined
  /** Certificates of authorities (PEM) to trust instead of Node's own. */
  readonly ca?: string | undefined
}

const CONNECT_TIMEOUT_MS = 10_000

/**
 * Makes connections for undici. What a name resolves to later, or elsewhere, does not matter: the connection goes to an
 * address that was checked, while TLS still asks for a certificate of the name.
 *
 * @throws {MillraceError} `invalid_configuration`
 */
export function guardedConnector({ allow, resolve = dns.lookup, ca }: GuardedConnections): buildConnector.connector {
  const guard = targetGuard(allow)
  const connectorFor = (protocol: string) =>
    buildConnector({
      timeout: CONNECT_TIMEOUT_MS,
      lookup: guardedLookup(guard, protocol, resolve),
      ...(ca !== undefined && { ca }),
    })
  const [overTls, inTheClear] = [connectorFor('https:'), connectorFor('http:')]
  return (options, callback) => {
    const { protocol, hostname } = options
    const refusal = refusalBefore(guard, protocol, hostname)
    if (refusal) callback(refusal, null)
    else (protocol === 'https:' ? overTls : inTheClear)(options, callback)
  }
}

/** Node resolves everything but addresses, so that the look-up sees all the rest. */
function refusalBefore(guard: TargetGuard, protocol: string, hostname: string): TransportError | undefined {
  if (isIP(hostname)) return guard.refusalOf(protocol, hostname)
  return protocol !== 'https:' && guard.needsTls ? tlsRequired(hostname) : undefined
}

/** One address that may not be used spoils the whole answer: else it would be a matter of luck which one is. */
const guardedLookup =
  (guard: TargetGuard, protocol: string, resolve: Resolve): LookupFunction =>
  (hostname, options, callback) => {
    vetted().then(
      addresses => {
        const [first] = addresses
        if (options.all) callback(null, addresses)
        else callback(null, (first as LookupAddress).address, (first as LookupAddress).family)
      },
      error => callback(error, ''),
    )

    async function vetted(): Promise<LookupAddress[]> {
      const addresses = await resolve(hostname, { ...options, all: true })
      if (addresses.length === 0) throw new TransportError('connect', `${hostname} has no address`, false)
      for (const { address } of addresses) {
        const refusal = guard.refusalOf(protocol, address, hostname)
        if (refusal) throw refusal
      }
      return addresses
    }
  }
