// `millrace migrate`: brings the engine's schema up to date, or tells what that would take.

import { migrate, migrationScript } from '../../core/migrate.ts'
import { databaseOption, databaseUrl, defineCommand, schemaOption, UsageError } from './cli-command.ts'
import { packageMigrations, withMigrationDatabase } from './migrations.ts'

export const migrateCommand = defineCommand({
  name: 'migrate',
  summary: "Brings the engine's schema in a database up to date.",
  details: `Everything pending runs in one transaction; running it again changes nothing, and parallel runs wait for each
other. The database's user needs the right to create a schema, or an empty schema that belongs to it.`,
  options: {
    ...databaseOption,
    ...schemaOption,
    'dry-run': { type: 'boolean', help: 'only tell what would be applied' },
    sql: {
      type: 'boolean',
      help: 'print a script for psql: all of it, or what the database of --database-url still lacks',
    },
  },
  async run({ values, result, progress }) {
    const { schema = 'millrace', sql, 'dry-run': dryRun = false } = values
    if (sql && dryRun) throw new UsageError('--sql and --dry-run exclude each other')
    if (sql) return printScript(schema, values['database-url'], result)
    const files = await packageMigrations()
    const onStep = (label: string) => progress(`applying ${label}`)
    const { steps } = await withMigrationDatabase(databaseUrl(values), database =>
      migrate(database, files, { schema, dryRun, onStep }),
    )
    result(summary(schema, steps, dryRun), { schema, dryRun, steps })
  },
})

async function printScript(
  schema: string,
  url: string | undefined,
  result: (text: string, value: unknown) => void,
): Promise<void> {
  const files = await packageMigrations()
  const script = url
    ? await withMigrationDatabase(url, database => migrationScript(files, { schema, database }))
    : await migrationScript(files, { schema })
  result(script, { schema, sql: script })
}

function summary(schema: string, steps: readonly string[], dryRun: boolean): string {
  if (steps.length === 0) return `schema ${schema} is up to date`
  if (!dryRun) return `schema ${schema} is up to date (${steps.length} steps applied)`
  return [`schema ${schema} lacks:`, ...steps.map(step => `  ${step}`)].join('\n')
}
