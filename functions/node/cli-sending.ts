// Options of the commands that send jobs to their functions.

import type { SendingOptions } from '../../core/maintenance/options.ts'
import { allowedTargets, allowTargetsOption } from './cli-allow-targets.ts'
import { databaseOption, integer, type Options, schemaOption, type ValuesOf } from './cli-command.ts'
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
  ...allowTargetsOption,
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
export const sendingTransport = (values: ValuesOf<typeof sendingOptions>): UndiciTransport =>
  undiciTransport({ allow: allowedTargets(values) })
