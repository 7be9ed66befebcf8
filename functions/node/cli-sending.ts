// Options of the commands that send jobs to their functions.

import { MillraceError } from '../../core/errors.ts'
import type { SendingOptions } from '../../core/maintenance/options.ts'
import { databaseOption, integer, type Options, schemaOption, UsageError, type ValuesOf } from './cli-command.ts'
import { credentialsOptions } from './cli-credentials.ts'
import { keysOption } from './cli-keys-option.ts'
import { type UndiciTransport, undiciTransport } from './undici-transport.ts'

export const sendingOptions = {
  ...databaseOption,
  ...schemaOption,
  ...keysOption,
  'callback-url': {
    type: 'string',
    value: 'URL',
    help: 'where functions reach the callback ingress (default: $MILLRACE_CALLBACK_URL)',
  },
  'callback-prefix': { type: 'string', value: 'PATH', help: 'its path (default: /api/callbacks)' },
  'events-prefix': { type: 'string', value: 'PATH', help: 'where it takes events (default: /api/events)' },
  'in-hand': { type: 'string', value: 'N', help: 'jobs claimed and not yet settled at most (default: 1000)' },
  batch: { type: 'string', value: 'N', help: 'jobs per claim at most (default: 500)' },
  ...credentialsOptions,
  'allow-targets': {
    type: 'string',
    value: 'LIST',
    help: 'where jobs may go besides https to public addresses: loopback, private, http, ranges (default: $MILLRACE_ALLOW_TARGETS)',
  },
  'no-compatible': { type: 'boolean', help: 'do not send the bearer header X-Awa-Signature' },
} as const satisfies Options

/** What the command line says of sending; keys and connections are not among it. */
export const sendingValues = (values: ValuesOf<typeof sendingOptions>) =>
  ({
    callbackUrl: values['callback-url'] ?? process.env.MILLRACE_CALLBACK_URL,
    callbackPrefix: values['callback-prefix'],
    eventsPrefix: values['events-prefix'],
    compatible: !values['no-compatible'],
    schema: values.schema,
    inHand: integer('in-hand', values['in-hand'], 1, 100_000),
    batch: integer('batch', values.batch, 1, 1_000),
  }) satisfies Partial<SendingOptions>

/** @throws {UsageError} when what is allowed is neither a word nor an address */
export function sendingTransport(values: ValuesOf<typeof sendingOptions>): UndiciTransport {
  const listed = values['allow-targets'] ?? process.env.MILLRACE_ALLOW_TARGETS ?? ''
  try {
    return undiciTransport({ allow: listed.split(/[\s,]+/).filter(entry => entry !== '') })
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error
    throw new UsageError(`--allow-targets: ${error.message}`, error.hint)
  }
}
