// What a maintenance process is given, and which parts of the role it plays.

import type { Credentials } from '../dispatch/authorize.ts'
import type { DispatcherOptions } from '../dispatch/dispatcher.ts'
import type { MaintenanceEvent } from '../dispatch/events.ts'
import type { Transport } from '../dispatch/transport.ts'
import { MillraceError } from '../errors.ts'
import { type Keyring, parseKeyring } from '../protocol/keyring.ts'
import type { Listener, Sql } from '../sql.ts'

/** How jobs are sent. */
export interface SendingOptions extends Credentials {
  readonly sql: Sql
  readonly transport: Transport
  /** For targets that are functions of AWS Lambda: `lambdaInvoker()` of `millrace/lambda`. */
  readonly lambdaInvoker?: DispatcherOptions['lambdaInvoker']
  /** The root keyring, or its text `kid:hex…`. */
  readonly keyring: Keyring | string
  /** Base URL of the callback ingress as functions reach it. Jobs in callback mode wait until there is one. */
  readonly callbackUrl?: string | undefined
  /** `/api/callbacks` unless given. */
  readonly callbackPrefix?: string | undefined
  /** Of events by token: `/api/events` unless given. */
  readonly eventsPrefix?: string | undefined
  /** Sends Awa's bearer header to functions: true. */
  readonly compatible?: boolean | undefined
  /** `millrace` unless given. */
  readonly schema?: string | undefined
  /** Shown in the runtime and leader tables. */
  readonly name?: string | undefined
  readonly inHand?: DispatcherOptions['inHand']
  readonly batch?: DispatcherOptions['batch']
  readonly ambiguitySeconds?: DispatcherOptions['ambiguitySeconds']
  readonly onEvent?: ((event: MaintenanceEvent) => void) | undefined
}

export interface MaintenanceOptions extends Omit<SendingOptions, 'transport' | 'keyring'> {
  /** Needed unless `noDispatch`. */
  readonly transport?: Transport | undefined
  /** Needed unless `noDispatch`. */
  readonly keyring?: Keyring | string | undefined
  /** On a direct connection: work is noticed within milliseconds and an idle process asks nothing. Else it polls. */
  readonly listener?: Listener | undefined
  /** Claims and sends nothing: promotes, rescues, and may lead. */
  readonly noDispatch?: boolean | undefined
  /** Claims and sends, and nothing else: somebody else must promote, rescue and lead. */
  readonly onlyDispatch?: boolean | undefined
  /**
   * How often it says that it lives and asks what is due, in milliseconds: 2000 while awake, or three times within the setting
   * runtime_lost_seconds if that is more often.
   */
  readonly pulseMs?: number | undefined
  /** The same while asleep: 40,000. */
  readonly asleepPulseMs?: number | undefined
}

/** @throws {MillraceError} `invalid_configuration` (no URL, options that exclude each other or are missing) */
export function checkOptions({ callbackUrl, noDispatch, onlyDispatch, transport, keyring }: MaintenanceOptions): void {
  if (callbackUrl !== undefined && !/^https?:$/.test(URL.parse(callbackUrl)?.protocol ?? ''))
    throw invalid(`The callback URL is not an absolute http(s) URL: ${callbackUrl}`)
  if (noDispatch && onlyDispatch) throw invalid('noDispatch and onlyDispatch leave nothing to do')
  if (!noDispatch && (transport === undefined || keyring === undefined))
    throw invalid('A dispatcher needs a transport and a keyring')
}

const invalid = (message: string) => new MillraceError('invalid_configuration', message)

/** @throws {MillraceError} `invalid_keyring` */
export function senderOf(options: Omit<SendingOptions, 'sql' | 'transport'>): DispatcherOptions['sender'] {
  const { keyring, callbackUrl, callbackPrefix, eventsPrefix, compatible = true } = options
  return {
    keyring: typeof keyring === 'string' ? parseKeyring(keyring) : keyring,
    callbackBase: callbackUrl,
    callbackPrefix,
    eventsPrefix,
    compatible,
  }
}
