// The package's own migrations, read from disk, and the runner wired to postgres.js.

import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import { MillraceError } from '../../core/errors.ts'
import { type Migrated, type MigrateOptions, type MigrationDatabase, migrate } from '../../core/migrate.ts'
import type { MigrationFile } from '../../core/migrate-plan.ts'

/** Reads `migrations/` of this package, whether it runs from its sources or built. */
export async function packageMigrations(): Promise<MigrationFile[]> {
  const root = migrationsFolder()
  const names = await readdir(root, { recursive: true })
  const paths = names.filter(name => name.endsWith('.sql')).map(name => name.replaceAll('\\', '/'))
  return Promise.all(paths.sort().map(async path => ({ path, text: await readFile(join(root, path), 'utf8') })))
}

function migrationsFolder(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const found = join(folder, 'migrations')
    if (existsSync(join(found, 'tables'))) return found
    if (folder === dirname(folder)) break
  }
  throw new MillraceError('missing_dependency', 'The folder migrations/ is not beside this program', {
    hint: 'A bundle leaves it behind: run migrations from the installed package.',
  })
}

/** Runs the package's migrations on the database at `url`, over one direct or pooled connection. */
export async function migrateDatabase(url: string, options: MigrateOptions = {}): Promise<Migrated> {
  const files = await packageMigrations()
  return withMigrationDatabase(url, database => migrate(database, files, options))
}

/** Opens a connection for {@link migrate} and closes it after `work`. */
export async function withMigrationDatabase<T>(
  url: string,
  work: (database: MigrationDatabase) => Promise<T>,
): Promise<T> {
  const sql = postgres(url, {
    max: 1,
    fetch_types: false,
    onnotice: () => undefined,
    connection: { application_name: 'millrace migrate' },
  })
  try {
    return await work(migrationDatabase(sql))
  } finally {
    await sql.end({ timeout: 5 })
  }
}

const migrationDatabase = (sql: postgres.Sql): MigrationDatabase => ({
  transaction: async <T>(work: Parameters<MigrationDatabase['transaction']>[0]) =>
    (await sql.begin(transaction =>
      work({
        query: async <Row>(text: string) => [...(await transaction.unsafe<Row[] & Record<string, unknown>[]>(text))],
        script: async text => {
          await transaction.unsafe(text).simple()
        },
      }),
    )) as T,
})
