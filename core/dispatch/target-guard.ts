// Where dispatches may go: over TLS to public addresses, and to what the deployment allows besides.

import ipaddr from 'ipaddr.js'
import { MillraceError } from '../errors.ts'
import { TransportError } from './transport.ts'

/**
 * What is allowed besides TLS to public addresses: `loopback` (with or without TLS), `private` (RFC 1918 and unique local
 * addresses), `http` (no TLS, to every address that is allowed), single addresses, and ranges as `10.1.0.0/16`.
 */
export type AllowedTargets = readonly string[]

export interface TargetGuard {
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

/** @throws {MillraceError} `invalid_configuration` */
export function targetGuard(allowed: AllowedTargets = []): TargetGuard {
  const words = new Set(allowed.filter(entry => WORDS.includes(entry)))
  const ranges = allowed.filter(entry => !WORDS.includes(entry)).map(rangeOf)

  const isPassable = (address: Address): boolean => {
    const range = address.range()
    if (
      ranges.some(
        ([network, bits]) => within(address, network, bits) && (bits === lengthOf(network) || !isMetadata(address)),
      )
    )
      return true
    if (isMetadata(address)) return false
    if (range === 'loopback') return words.has('loopback')
    if (range === 'private' || range === 'uniqueLocal') return words.has('private')
    return isGlobal(address)
  }

  const refusalOf = (protocol: string, text: string, host = text): TransportError | undefined => {
    const address = addressOf(text)
    if (!isPassable(address)) return refused(host, isMetadata(address) ? 'metadata' : address.range())
    const isClear = protocol !== 'https:'
    if (isClear && !words.has('http') && !(words.has('loopback') && address.range() === 'loopback'))
      return tlsRequired(host)
    return undefined
  }

  const refusalOfUrl = (protocol: string, hostname: string): TransportError | undefined => {
    const literal = hostname.replace(/^\[|\]$/g, '')
    if (ipaddr.isValid(literal)) return refusalOf(protocol, literal)
    if (!LOCAL_NAME.test(hostname))
      return protocol === 'https:' || words.has('http') ? undefined : tlsRequired(hostname)
    const means = /localhost\.?$/i.test(hostname) ? 'loopback' : 'private'
    if (!words.has(means)) return refused(hostname, means)
    const isClearAllowed = words.has('http') || means === 'loopback'
    return protocol === 'https:' || isClearAllowed ? undefined : tlsRequired(hostname)
  }

  return { refusalOf, refusalOfUrl }
}

/** What is written inside of an address of IPv6 goes by its own rules: that is where a connection ends up. */
function addressOf(text: string): Address {
  const address = ipaddr.process(text.replace(/%.*$/, ''))
  if (address.kind() === 'ipv4' || !within(address, ipaddr.parse('64:ff9b::'), 96)) return address
  return ipaddr.fromByteArray(address.toByteArray().slice(12))
}

const TODAYS_INTERNET = ipaddr.parse('2000::')

/** Of IPv6 only 2000::/3 is given out; what is special in there and in IPv4 has a range of its own. */
const isGlobal = (address: Address): boolean =>
  address.range() === 'unicast' && (address.kind() === 'ipv4' || within(address, TODAYS_INTERNET, 3))

const isMetadata = (address: Address): boolean => METADATA.includes(address.toString())

const within = (address: Address, network: Address, bits: number): boolean =>
  address.kind() === network.kind() && address.match(network as never, bits)

const lengthOf = (address: Address): number => (address.kind() === 'ipv4' ? 32 : 128)

/** @throws {MillraceError} `invalid_configuration` */
function rangeOf(entry: string): Range {
  if (ipaddr.isValidCIDR(entry) && /^[\d.]+\/|:/.test(entry)) return ipaddr.parseCIDR(entry)
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

const tlsRequired = (host: string): TransportError =>
  new TransportError('tls_required', `${host} is not to be reached without TLS`, false)
