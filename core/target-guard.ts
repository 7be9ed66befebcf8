// Where dispatches may go: over TLS to public addresses, and to what the deployment allows besides.

import ipaddr from 'ipaddr.js'
import { TransportError } from './dispatch/transport.ts'
import { MillraceError } from './errors.ts'

/**
 * What is allowed besides TLS to public addresses: `loopback` (with or without TLS), `private` (RFC 1918 and unique local
 * addresses), `http` (no TLS, to every address that is allowed), single addresses, and ranges as `10.1.0.0/16`.
 */
export type AllowedTargets = readonly string[]

export interface TargetGuard {
  /** Nothing at all is sent without TLS, so that no name has to be resolved to know it. */
  readonly needsTls: boolean
  /** Why nothing is sent to this address over this protocol (`https:`, `http:`); `host` is what the URL names. */
  refusalOf(protocol: string, address: string, host?: string): TransportError | undefined
  /** Why nothing is sent there, as far as the URL's parts tell. Only what `hostname` resolves to can tell the rest. */
  refusalOfUrl(protocol: string, hostname: string): TransportError | undefined
}

type Address = ipaddr.IPv4 | ipaddr.IPv6
type Range = readonly [Address, number]

const WORDS = ['loopback', 'private', 'http']

/** Metadata services, also those whose address looks like any other. Each has to be allowed by its very address. */
const METADATA = [
  '169.254.169.254',
  '169.254.170.2',
  '100.100.100.200',
  '168.63.129.16',
  'fd00:ec2::254',
  'fd20:ce::254',
]

/** Names that mean this machine or this network wherever they are resolved (RFC 6761, RFC 6762, ICANN's `internal`). */
const LOCAL_NAME = /(^|\.)(localhost|local|internal)\.?$/i

/** Which word allows a range; what has none is allowed by its address only. */
const WORD_OF: Readonly<Record<string, string>> = { loopback: 'loopback', private: 'private', uniqueLocal: 'private' }

/** @throws {MillraceError} `invalid_configuration` */
export function targetGuard(allowed: AllowedTargets = []): TargetGuard {
  const words = new Set(allowed.filter(entry => WORDS.includes(entry)))
  const ranges = allowed.filter(entry => !WORDS.includes(entry)).map(rangeOf)

  const isListed = (address: Address): boolean =>
    ranges.some(([network, bits]) => {
      const isNarrow = bits === lengthOf(network) || !isMetadata(address)
      return isNarrow && within(address, network, bits)
    })

  const isPassable = (address: Address): boolean => {
    const word = WORD_OF[address.range()]
    if (isListed(address)) return true
    return word === undefined ? isGlobal(address) : words.has(word) && !isMetadata(address)
  }

  const lacksTls = (protocol: string, isLoopback: boolean): boolean =>
    protocol !== 'https:' && !words.has('http') && !(isLoopback && words.has('loopback'))

  const refusalOf = (protocol: string, text: string, host = text): TransportError | undefined => {
    const address = addressOf(text)
    if (!isPassable(address)) return refused(host, rangeName(address))
    return lacksTls(protocol, address.range() === 'loopback') ? tlsRequired(host) : undefined
  }

  const refusalOfUrl = (protocol: string, hostname: string): TransportError | undefined => {
    const literal = hostname.replace(/^\[|\]$/g, '')
    if (ipaddr.isValid(literal)) return refusalOf(protocol, literal)
    const range = LOCAL_NAME.exec(hostname) && (/localhost\.?$/i.test(hostname) ? 'loopback' : 'private')
    if (range && !words.has(range)) return refused(hostname, range)
    return lacksTls(protocol, range === 'loopback') ? tlsRequired(hostname) : undefined
  }

  return { needsTls: !words.has('http') && !words.has('loopback'), refusalOf, refusalOfUrl }
}

/** An address of IPv4 that is written as one of IPv6 is the former: that is what a connection is made to. */
const addressOf = (text: string): Address => ipaddr.process(text.replace(/%.*$/, ''))

const GIVEN_OUT = ipaddr.parse('2000::')
/** Where IPv4 is reached through a gateway (RFC 6052). */
const NAT64 = ipaddr.parse('64:ff9b::')

/** Of IPv6 only 2000::/3 is given out; what is special in there and in IPv4 has a range of its own. */
function isGlobal(address: Address): boolean {
  if (isMetadata(address)) return false
  if (address.kind() === 'ipv4') return address.range() === 'unicast'
  if (within(address, NAT64, 96)) return isGlobal(ipaddr.fromByteArray(address.toByteArray().slice(12)))
  return address.range() === 'unicast' && within(address, GIVEN_OUT, 3)
}

const isMetadata = (address: Address): boolean => METADATA.includes(address.toString())

const rangeName = (address: Address): string => {
  const range = address.range()
  return isMetadata(address) ? 'metadata' : range === 'unicast' ? 'reserved' : range
}

const within = (address: Address, network: Address, bits: number): boolean =>
  address.kind() === network.kind() && address.match(network as never, bits)

const lengthOf = (address: Address): number => (address.kind() === 'ipv4' ? 32 : 128)

/** @throws {MillraceError} `invalid_configuration` */
function rangeOf(entry: string): Range {
  if (ipaddr.IPv4.isValidCIDRFourPartDecimal(entry) || ipaddr.IPv6.isValidCIDR(entry)) return ipaddr.parseCIDR(entry)
  if (ipaddr.IPv4.isValidFourPartDecimal(entry) || ipaddr.IPv6.isValid(entry)) {
    const address = ipaddr.process(entry)
    return [address, lengthOf(address)]
  }
  throw new MillraceError('invalid_configuration', `Targets cannot be allowed by "${entry}"`, {
    hint: 'loopback, private, http, an address, or a range such as 10.1.0.0/16',
  })
}

/** It is read by whoever owns the URL, so it does not tell which address a name has. */
const refused = (host: string, range: string): TransportError =>
  new TransportError('target_refused', `${host} is no public address (${range}), and not allowed`, false)

export const tlsRequired = (host: string): TransportError =>
  new TransportError('tls_required', `${host} is not to be reached without TLS`, false)
