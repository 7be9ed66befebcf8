// Brings a schema up to date: everything pending in one transaction, one run at a time.

import { MillraceError } from './errors.ts'
import { type AppliedMigration, type MigrationFile, planMigration, type SchemaState } from './migrate-plan.ts'
import { quoteIdentifier } from './sql.ts'

/** Oldest server that the engine runs on. */
const OLDEST_SERVER = 14

/** One open transaction. */
interface MigrationTransaction {
  /** Runs one statement without parameters and answers its rows. */
  query<Row>(text: string): Promise<Row[]>
  /** Runs a script of several statements in the simple protocol. */
  script(text: string): Promise<void>
}

/** What a driver has to offer: an interactive transaction that rolls back when `work` is rejected. */
export interface MigrationDatabase {
  transaction<T>(work: (transaction: MigrationTransaction) => Promise<T>): Promise<T>
}

export interface MigrateOptions {
  /** `millrace` unless given. */
  readonly schema?: string | undefined
  /** Only answers what would be done. */
  readonly dryRun?: boolean | undefined
  /** Hears the label of every step as it begins. */
  readonly onStep?: ((label: string) => void) | undefined
}

export interface Migrated {
  readonly schema: string
  /** Labels of the steps that were (or, in a dry run, would be) carried out; empty when all was up to date. */
  readonly steps: readonly string[]
}

/**
 * Applies what is pending, all or nothing. Safe to run again, and from several places at once.
 *
 * @throws {MillraceError} `unsupported_server`, `schema_too_new`, `schema_not_empty`, `migration_changed`,
 *   `migration_blocked` (objects of the user's depend on ours), `invalid_configuration` (the schema's name)
 */
export async function migrate(
  database: MigrationDatabase,
  files: readonly MigrationFile[],
  options: MigrateOptions = {},
): Promise<Migrated> {
  const schema = options.schema ?? 'millrace'
  // Refuses a bad name before it gets into any statement.
  planMigration(files, { migrations: undefined }, schema)
  const steps = await database.transaction(async transaction => {
    await transaction.script(preamble(schema))
    const plan = planMigration(files, await readState(transaction, schema), schema)
    for (const step of options.dryRun ? [] : plan) {
      options.onStep?.(step.label)
      await transaction.script(step.sql).catch(error => {
        throw explain(error, step.label)
      })
    }
    return plan.map(({ label }) => label)
  })
  return { schema, steps }
}

/**
 * The pending migrations as a script for psql, in a transaction of its own. Without a database: all of them, for one
 * that has none yet.
 */
export async function migrationScript(
  files: readonly MigrationFile[],
  options: { schema?: string | undefined; database?: MigrationDatabase | undefined } = {},
): Promise<string> {
  const { schema = 'millrace', database } = options
  const empty: SchemaState = { migrations: undefined }
  planMigration(files, empty, schema)
  const state = database ? await database.transaction(transaction => readState(transaction, schema)) : empty
  const plan = planMigration(files, state, schema)
  const body = plan.map(step => `-- ${step.label}\n${step.sql.trim()}`)
  return ['begin;', preamble(schema), expectState(state, schema), ...body, 'commit;', ''].join('\n\n')
}

/** Waits for whoever migrates the schema or changes who may use it, until the transaction ends. */
export const lockSchema = (schema: string): string =>
  `select pg_advisory_xact_lock(hashtextextended('millrace.migrate ' || ${literal(schema)}, 0));`

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`

/**
 * Nothing is found by accident: our files qualify every name. The lock serialises runs on one schema. Whoever migrates, all of it
 * belongs to one owner, with whose rights the functions run.
 */
const preamble = (schema: string): string => `set local search_path = pg_catalog;
${lockSchema(schema)}
do $$
declare
  owner name := pg_get_userbyid(coalesce(
    (select relowner from pg_class where oid = to_regclass('${quoteIdentifier(schema)}.migration')),
    (select nspowner from pg_namespace where nspname = '${schema}' and pg_has_role(nspowner, 'member'))));
begin
  if owner <> current_user then
    execute format('set local role %I', owner);
  end if;
end $$;`

/** Stops a printed script that meets another state than the one it was made for. */
function expectState(state: SchemaState, schema: string): string {
  if (!state.migrations) return '-- For a database without this schema, or with an empty one.'
  const expected = state.migrations.map(({ checksum }) => checksum).join(' ')
  return `do $$ begin
  if (select string_agg(checksum, ' ' order by number) from ${quoteIdentifier(schema)}.migration) <> '${expected}' then
    raise exception 'this script was made for another state of the schema: print it again';
  end if;
end $$;`
}

async function readState(transaction: MigrationTransaction, schema: string): Promise<SchemaState> {
  const [facts] = await transaction.query<{ server: number; version: string; known: boolean; occupied: boolean }>(`
    select current_setting('server_version_num')::int as server, current_setting('server_version') as version,
      to_regclass('${quoteIdentifier(schema)}.migration') is not null as known,
      exists (select from pg_class where relnamespace = to_regnamespace('${quoteIdentifier(schema)}'))
        or exists (select from pg_proc where pronamespace = to_regnamespace('${quoteIdentifier(schema)}')) as occupied`)
  if (!facts) throw new MillraceError('unavailable', 'The server answered no row')
  if (facts.server < OLDEST_SERVER * 10_000) {
    throw new MillraceError(
      'unsupported_server',
      `Postgres ${OLDEST_SERVER} or newer is needed, this one is ${facts.version}`,
    )
  }
  if (!facts.known && facts.occupied) {
    throw new MillraceError('schema_not_empty', `The schema ${schema} holds something that is not Millrace's`, {
      hint: 'Millrace wants a schema of its own, since it replaces all functions in it. Choose another with --schema.',
    })
  }
  return { migrations: facts.known ? await readApplied(transaction, schema) : undefined }
}

const readApplied = (transaction: MigrationTransaction, schema: string): Promise<AppliedMigration[]> =>
  transaction.query(`select number, name, checksum from ${quoteIdentifier(schema)}.migration order by number`)

/** Adds which file it was to the database's own error. */
function explain(error: unknown, label: string): unknown {
  if (!(error instanceof Error)) return error
  const { code, detail } = error as { code?: unknown; detail?: unknown }
  if (code === '2BP01') {
    return new MillraceError('migration_blocked', `Objects outside of Millrace depend on its functions: ${detail}`, {
      hint: 'Drop them, migrate, and create them again.',
      cause: error,
    })
  }
  error.message = `${label}: ${error.message}`
  return error
}
