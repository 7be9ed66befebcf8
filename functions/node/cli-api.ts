// `millrace api`: the private admin API as a process of its own.

import { apiApp, openApiDocument } from '../../core/api/app.ts'
import { allowedTargets, allowTargetsOption } from './cli-allow-targets.ts'
import { databaseOption, databaseUrl, defineCommand, integer, schemaOption } from './cli-command.ts'
import { limitOptions, limitsOf } from './cli-limits.ts'
import { sealingKeys, sealingKeysOption } from './cli-sealing-keys.ts'
import { readyEntry, requestLog, requestLogOptions } from './log-requests.ts'
import { postgresSql } from './postgres-sql.ts'
import { serveNode } from './serve.ts'
import { stopRequest } from './stop-request.ts'

const DEFAULT_PORT = 4100
/** A list may be asked for by a thousand ids. */
const HEADER_BYTES = 48 * 1024

const errorBody = (code: string, message: string) => ({ error: { code, message } })

export const apiCommand = defineCommand({
  name: 'api',
  summary: 'Serves the private admin API until Ctrl-C or SIGTERM, and prints its URL as the first line.',
  details: `Everything below /api needs a key: Authorization: Bearer mk_... It has no TLS and no CORS: keep it where only your
own services reach it. GET /healthz says that it answers, GET /readyz asks the database, and neither needs a key.
\`millrace api-key create\` makes a key in the database, with scopes and perhaps of one tenant; --api-keys has keys beside those, for a
start (\`millrace keys api\` makes one; mk_...:enqueue,read restricts it), or the word database for none.
On SIGTERM it finishes the requests it has begun and exits with 0.`,
  options: {
    ...databaseOption,
    ...schemaOption,
    'api-keys': {
      type: 'string',
      value: 'KEYS',
      help: 'keys, mk_...[:scope,...][;mk_...], or the word database (default: $MILLRACE_API_KEYS)',
    },
    port: { type: 'string', value: 'N', help: `the port (default: ${DEFAULT_PORT}; 0 for any free one)` },
    host: { type: 'string', value: 'HOST', help: 'the address to listen on (default: 127.0.0.1)' },
    'no-prepare': { type: 'boolean', help: 'no named statements; for poolers that do not follow them' },
    connections: { type: 'string', value: 'N', help: 'database connections at most (default: 10)' },
    ...sealingKeysOption,
    ...allowTargetsOption,
    ...limitOptions,
    ...requestLogOptions,
    openapi: { type: 'boolean', help: 'print the OpenAPI document, and end' },
  },
  async run({ values, json, result, progress }) {
    if (values.openapi) return result(JSON.stringify(openApiDocument(), null, 2), openApiDocument())
    const { host, schema } = values
    const port = integer('port', values.port, 0, 65_535) ?? DEFAULT_PORT
    const sql = postgresSql(databaseUrl(values), {
      max: integer('connections', values.connections, 1, 100) ?? 10,
      prepare: !values['no-prepare'],
      applicationName: 'millrace api',
    })
    try {
      const apiKeys = values['api-keys'] ?? process.env.MILLRACE_API_KEYS
      const log = requestLog(values, json)
      const app = apiApp({
        sql,
        schema,
        apiKeys,
        sealingKeys: sealingKeys(values),
        allowTargets: allowedTargets(values),
        limits: limitsOf(values),
        onEvent: event => log({ type: 'request', ...event }, `${event.method} ${event.path}`),
      })
      const stop = stopRequest()
      const server = await serveNode(app.fetch, { host, port, limits: { headerBytes: HEADER_BYTES }, errorBody })
      if (isPublic(host))
        progress(`${server.url} is not for this machine only: keys travel over it, so put TLS before it`)
      result(server.url, { ...readyEntry(), url: server.url, pid: process.pid })
      await stop
      progress('Finishing the requests under way')
      await server.close()
    } finally {
      await sql.end()
    }
  },
})

const isPublic = (host = '127.0.0.1'): boolean => !/^(127\.[\d.]+|::1|localhost)$/.test(host)
