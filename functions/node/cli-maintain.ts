// `millrace maintain`: the long-running role that dispatches jobs, promotes what is due, rescues what was lost, and leads.

import { hostname } from 'node:os'
import type { MaintenanceEvent } from '../../core/dispatch/events.ts'
import { Maintenance } from '../../core/maintenance.ts'
import { databaseUrl, defineCommand, integer, UsageError } from './cli-command.ts'
import { credentialsOf } from './cli-credentials.ts'
import { keysText } from './cli-keys-option.ts'
import { sendingOptions, sendingTransport, sendingValues } from './cli-sending.ts'
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
    quiet: { type: 'boolean', help: 'no line per job' },
  },
  async run({ values, result, progress }) {
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
      onEvent: values.quiet ? undefined : event => tell(event, result),
    })
    const asked = stopRequest({ signals: ['SIGINT', 'SIGTERM'], again: () => process.exit(1) })
    try {
      await maintenance.start()
      result('millrace maintain: ready', { type: 'ready', pid: process.pid })
      await asked
      progress('Draining; a second signal ends at once.')
      await maintenance.stop(drainSeconds * 1_000)
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
    case 'endpoint_disabled':
      return `endpoint ${event.endpoint} is disabled: ${event.reason === 'gone' ? 'it answered 410' : 'nothing has got through for too long'}`
    case 'promoted':
      return `${event.jobs} deferred jobs are due`
    case 'rescued':
      return `${event.parked + event.lost} attempts without an end are retried${event.stuck > 0 ? `, ${event.stuck} cannot be closed: see the log of the database` : ''}`
    case 'leading':
      return `leads, under epoch ${event.epoch}`
    case 'deposed':
      return `leads no more (epoch ${event.epoch})`
    case 'fired':
      return `schedule ${event.schedule} fired: ${event.jobs} jobs`
    case 'rotated':
      return `segment ${event.segment} is open`
    case 'pruned':
      return `segment ${event.segment ?? '(none)'} is pruned: ${event.carried} open attempts carried, ${event.archived} jobs archived`
    case 'forwarded':
      return `${event.jobs} unclaimed jobs of segment ${event.segment} are brought forward`
    case 'prune_put_off':
      return `pruning is put off: ${event.message}`
    case 'expired':
      return `${event.jobs} dead letters and archived jobs are deleted, their retention is over`
    case 'slept':
      return `slept for ${event.seconds.toFixed(0)} s, with ${event.statements} statements`
    case 'error':
      return `${event.during} failed and is tried again: ${event.error}`
    default:
      return undefined
  }
}
