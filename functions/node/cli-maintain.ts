// `millrace maintain`: the long-running role that dispatches jobs, promotes what is due, rescues what was lost, and leads.

import { hostname } from 'node:os'
import { Maintenance } from '../../core/maintenance.ts'
import { databaseUrl, defineCommand, integer, UsageError } from './cli-command.ts'
import { credentialsOf } from './cli-credentials.ts'
import { keysText } from './cli-keys-option.ts'
import { sendingOptions, sendingTransport, sendingValues } from './cli-sending.ts'
import { logger, logOptions } from './log.ts'
import { tell } from './log-maintenance.ts'
import { postgresSql } from './postgres-sql.ts'
import { stopRequest } from './stop-request.ts'

export const maintainCommand = defineCommand({
  name: 'maintain',
  summary: 'Sends jobs to their functions, retries, promotes and rescues, until SIGTERM or Ctrl-C.',
  details: `SIGTERM drains: nothing more is claimed, what has not been sent is handed back, what is in flight may finish.
Any number of these may run on one database; one of them leads, which is to rotate, prune and fire schedules, and
another one takes over when it ends. Give it a direct connection: behind a pooler in transaction mode use --no-listen, and
it polls instead of being notified. With --no-dispatch it needs no keys.`,
  options: {
    ...sendingOptions,
    'drain-timeout': { type: 'string', value: 'SECONDS', help: 'how long SIGTERM waits for requests (default: 25)' },
    'no-dispatch': { type: 'boolean', help: 'send no jobs: only promote, rescue, and lead if nobody else does' },
    'only-dispatch': { type: 'boolean', help: 'only send jobs: others promote, rescue and lead' },
    'no-listen': { type: 'boolean', help: 'poll; for connections without LISTEN' },
    ...logOptions,
    quiet: { type: 'boolean', help: 'no line per job' },
  },
  async run({ values, json, progress }) {
    const { 'no-dispatch': noDispatch, 'only-dispatch': onlyDispatch } = values
    if (noDispatch && onlyDispatch) throw new UsageError('--no-dispatch and --only-dispatch leave nothing to do')
    const keyring = noDispatch ? undefined : keysText(values)
    const sending = sendingValues(values)
    const [transport, credentials] = [sendingTransport(values), await credentialsOf(values)]
    const drainSeconds = integer('drain-timeout', values['drain-timeout'], 0, 86_400) ?? 25
    const sql = postgresSql(databaseUrl(values), {
      max: 4,
      prepare: !values['no-listen'],
      applicationName: 'millrace maintain',
      patienceSeconds: 120,
    })
    const log = logger({
      json,
      messages: values['log-messages'] === true,
      write: line => void process.stdout.write(`${line}\n`),
    })
    const maintenance = new Maintenance({
      ...sending,
      ...credentials,
      sql,
      listener: values['no-listen'] ? undefined : sql,
      transport,
      keyring,
      noDispatch,
      onlyDispatch,
      name: `${hostname()}:${process.pid}`,
      onEvent: values.quiet ? undefined : event => tell(log, event),
    })
    const asked = stopRequest({ signals: ['SIGINT', 'SIGTERM'], again: () => process.exit(1) })
    try {
      await maintenance.start()
      log('info', { type: 'ready', pid: process.pid }, 'millrace maintain: ready')
      await asked
      progress('Draining; a second signal ends at once.')
      await maintenance.stop(drainSeconds * 1_000)
      log('info', { type: 'drained' }, 'millrace maintain: drained')
    } finally {
      await transport.end()
      await sql.end()
    }
  },
})
