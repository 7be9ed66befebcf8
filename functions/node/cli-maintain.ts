// `millrace maintain`: the long-running role that dispatches jobs, promotes what is due and rescues what was lost.

import { hostname } from 'node:os'
import type { MaintenanceEvent } from '../../core/dispatch/events.ts'
import { Maintenance } from '../../core/maintenance.ts'
import { databaseOption, databaseUrl, defineCommand, integer, schemaOption } from './cli-command.ts'
import { keysOption, keysText } from './cli-keys.ts'
import { postgresSql } from './postgres-sql.ts'
import { stopRequest } from './stop-request.ts'
import { undiciTransport } from './undici-transport.ts'

export const maintainCommand = defineCommand({
  name: 'maintain',
  summary: 'Sends jobs to their functions, retries, promotes and rescues, until SIGTERM or Ctrl-C.',
  details: `SIGTERM drains: nothing more is claimed, what has not been sent is handed back, what is in flight may finish.
Any number of these may run on one database. Give it a direct connection: behind a pooler in transaction mode
use --no-listen, and it polls instead of being notified.`,
  options: {
    ...databaseOption,
    ...schemaOption,
    ...keysOption,
    'callback-url': {
      type: 'string',
      value: 'URL',
      help: 'where functions reach the callback ingress (default: $MILLRACE_CALLBACK_URL)',
    },
    'callback-prefix': { type: 'string', value: 'PATH', help: 'its path (default: /api/callbacks)' },
    'in-hand': { type: 'string', value: 'N', help: 'jobs claimed and not yet settled at most (default: 1000)' },
    batch: { type: 'string', value: 'N', help: 'jobs per claim at most (default: 500)' },
    'drain-timeout': { type: 'string', value: 'SECONDS', help: 'how long SIGTERM waits for requests (default: 25)' },
    'no-compatible': { type: 'boolean', help: 'do not send the bearer header X-Awa-Signature' },
    'no-listen': { type: 'boolean', help: 'poll; for connections without LISTEN' },
    quiet: { type: 'boolean', help: 'no line per job' },
  },
  async run({ values, result, progress }) {
    const keyring = keysText(values)
    const batch = integer('batch', values.batch, 1, 1_000)
    const sql = postgresSql(databaseUrl(values), {
      max: 4,
      prepare: !values['no-listen'],
      applicationName: 'millrace maintain',
    })
    const transport = undiciTransport()
    const maintenance = new Maintenance({
      sql,
      listener: values['no-listen'] ? undefined : sql,
      transport,
      keyring,
      callbackUrl: values['callback-url'] ?? process.env.MILLRACE_CALLBACK_URL,
      callbackPrefix: values['callback-prefix'],
      compatible: !values['no-compatible'],
      schema: values.schema,
      name: `${hostname()}:${process.pid}`,
      inHand: integer('in-hand', values['in-hand'], 1, 100_000),
      batch,
      onEvent: values.quiet ? undefined : event => tell(event, result),
    })
    const asked = stopRequest({ signals: ['SIGINT', 'SIGTERM'], again: () => process.exit(1) })
    try {
      await maintenance.start()
      result('millrace maintain: ready', { type: 'ready', pid: process.pid })
      await asked
      progress('Draining; a second signal ends at once.')
      await maintenance.stop((integer('drain-timeout', values['drain-timeout'], 0, 86_400) ?? 25) * 1000)
      result('millrace maintain: drained', { type: 'drained' })
    } finally {
      await transport.end()
      await sql.end()
    }
  },
})

function tell(event: MaintenanceEvent, result: (text: string, value: unknown) => void): void {
  const line = describe(event)
  if (line !== undefined) result(line, event.type === 'error' ? { ...event, error: String(event.error) } : event)
}

/** One line for people; none for what happens too often to read. */
function describe(event: MaintenanceEvent): string | undefined {
  switch (event.type) {
    case 'dispatched':
      return `job ${event.job} ${event.kind}: attempt ${event.attempt} sent`
    case 'parked':
      return `job ${event.job} ${event.kind}: accepted, waits for its callback`
    case 'closed':
      return `job ${event.job} ${event.kind}: ${event.fresh ? '' : 'was '}${event.state}${event.message ? ` (${event.message.slice(0, 200)})` : ''}`
    case 'throttled':
      return `${event.origin} is throttled for ${Math.round(event.pauseMs)} ms`
    case 'promoted':
      return `${event.jobs} deferred jobs are due`
    case 'rescued':
      return `${event.parked + event.lost} attempts without an end are retried`
    case 'error':
      return `${event.during} failed and is tried again: ${event.error}`
    default:
      return undefined
  }
}
