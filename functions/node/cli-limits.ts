// `--rate`, `--rate-refused`, `--rate-events` and `--trust-proxy`: who may ask how often, for the commands that serve.

import { type RequestLimits, requestLimits } from '../../core/request-limits.ts'
import type { Rate } from '../../core/token-buckets.ts'
import { integer, type Options, UsageError, type ValuesOf } from './cli-command.ts'
import { clientAddress } from './client-address.ts'

export const limitOptions = {
  rate: {
    type: 'string',
    value: 'N[:BURST]',
    help: 'requests a second of one client, or off (default: 5000:10000)',
  },
  'rate-refused': {
    type: 'string',
    value: 'N[:BURST]',
    help: 'refusals a second of one client, then 429, or off (default: 10:100)',
  },
  'trust-proxy': {
    type: 'string',
    value: 'N',
    help: 'clients are whom so many proxies in front name in X-Forwarded-For (default: 0, none)',
  },
} as const satisfies Options

export const eventLimitOption = {
  'rate-events': {
    type: 'string',
    value: 'N[:BURST]',
    help: 'events a second by one token, or off (default: 10:200)',
  },
} as const satisfies Options

/** @throws {UsageError} */
export function limitsOf(values: ValuesOf<typeof limitOptions & typeof eventLimitOption>): RequestLimits {
  return requestLimits({
    clientOf: clientAddress(integer('trust-proxy', values['trust-proxy'], 0, 100)),
    requests: rateOf('rate', values.rate),
    refused: rateOf('rate-refused', values['rate-refused']),
    events: rateOf('rate-events', values['rate-events']),
  })
}

/** As many at once as in two seconds, unless that is said. */
function rateOf(option: string, text: string | undefined): Rate | false | undefined {
  if (text === undefined) return undefined
  if (text === 'off') return false
  const [, perSecond, burst = Number(perSecond) * 2] = /^([1-9]\d{0,8})(?::([1-9]\d{0,8}))?$/.exec(text) ?? []
  if (perSecond === undefined) throw new UsageError(`--${option} takes N, N:BURST or off, not "${text}"`)
  return { perSecond: Number(perSecond), burst: Number(burst) }
}
