// `millrace callbacks`: the callback ingress as a process of its own.

import { callbacks } from '../../core/callbacks.ts'
import { isLoopbackHost } from '../../core/loopback.ts'
import { SqlEngine } from '../../core/sql-engine.ts'
import { databaseOption, databaseUrl, defineCommand, integer, schemaOption, UsageError } from './cli-command.ts'
import { hasKeys, keysOption, keysText } from './cli-keys-option.ts'
import { eventLimitOption, limitOptions, limitsOf } from './cli-limits.ts'
import { readyEntry, requestLog, requestLogOptions } from './log-requests.ts'
import { postgresSql } from './postgres-sql.ts'
import { serveNode } from './serve.ts'
import { stopRequest } from './stop-request.ts'

const DEFAULT_PORT = 4000

export const callbacksCommand = defineCommand({
  name: 'callbacks',
  summary: 'Serves the callback ingress until Ctrl-C or SIGTERM, and prints its URL as the first line.',
  details: `It takes complete, fail, heartbeat and wait from functions that can prove which attempt they speak for, events of
jobs that wait from who has their tokens, answers GET /healthz, and does nothing else. On SIGTERM it finishes the
callbacks it has begun and exits with 0.`,
  options: {
    ...databaseOption,
    ...schemaOption,
    ...keysOption,
    port: { type: 'string', value: 'N', help: `the port (default: ${DEFAULT_PORT}; 0 for any free one)` },
    host: { type: 'string', value: 'HOST', help: 'the address to listen on (default: 127.0.0.1)' },
    prefix: { type: 'string', value: 'PATH', help: 'the path before the callback id (default: /api/callbacks)' },
    'events-prefix': { type: 'string', value: 'PATH', help: 'the path before event tokens (default: /api/events)' },
    'no-compatible': { type: 'boolean', help: "refuse Awa's bearer header X-Awa-Signature" },
    'allow-unsigned': { type: 'boolean', help: 'for development: take unsigned callbacks; on a loopback --host only' },
    'no-prepare': { type: 'boolean', help: 'no named statements; for poolers that do not follow them' },
    connections: { type: 'string', value: 'N', help: 'database connections at most (default: 4)' },
    ...limitOptions,
    ...eventLimitOption,
    ...requestLogOptions,
  },
  async run({ values, json, result, progress }) {
    const { host, prefix, schema = 'millrace' } = values
    const port = integer('port', values.port, 0, 65_535) ?? DEFAULT_PORT
    const allowUnsigned = unsignedAllowed(values['allow-unsigned'], host)
    const keyring = allowUnsigned && !hasKeys(values) ? undefined : keysText(values)
    const sql = postgresSql(databaseUrl(values), {
      max: integer('connections', values.connections, 1, 100) ?? 4,
      prepare: !values['no-prepare'],
      applicationName: 'millrace callbacks',
      patienceSeconds: 30,
    })
    const stop = stopRequest()
    const store = new SqlEngine(sql, { schema })
    const log = requestLog(values, json)
    const app = callbacks({
      store,
      keyring,
      prefix,
      eventsPrefix: values['events-prefix'],
      compatible: !values['no-compatible'],
      allowUnsigned,
      limits: limitsOf(values),
      onEvent: event => log({ type: 'callback', ...event }, event.action),
    })
    try {
      const server = await serveNode(app.fetch, { host, port })
      result(server.url, { ...readyEntry(), url: server.url, pid: process.pid })
      await stop
      progress('Finishing the callbacks under way')
      await server.close()
    } finally {
      await sql.end()
    }
  },
})

/** @throws {UsageError} when others than this machine could reach it */
function unsignedAllowed(asked = false, host = '127.0.0.1'): boolean {
  if (!asked || isLoopbackHost(host)) return asked
  throw new UsageError(
    `--allow-unsigned takes callbacks from anybody who can reach ${host}`,
    'Leave out --host, or give it keys and leave out --allow-unsigned.',
  )
}
