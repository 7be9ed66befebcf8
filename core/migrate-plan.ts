// Works out what a schema lacks: from the migration files and what is on record, to the SQL that brings it up to date.

import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import { MillraceError } from './errors.ts'
import { checkLiving, dropLiving, keepGrants, restoreGrants } from './migrate-living.ts'
import { grantRoles, secureLiving } from './migrate-roles.ts'
import { quoteIdentifier } from './sql.ts'

/** One file of `migrations/`, by its path below that folder: `tables/001_engine.sql`, `functions/claim.sql`. */
export interface MigrationFile {
  readonly path: string
  readonly text: string
}

/** A row of the schema's `migration` table. Number 0 stands for all of `functions/`. */
export interface AppliedMigration {
  readonly number: number
  readonly name: string
  readonly checksum: string
}

/** One script of the plan. */
export interface MigrationStep {
  /** For people: `tables/001_engine.sql`, `17 files of functions/`. */
  readonly label: string
  readonly sql: string
}

/** What is on record in a database; `migrations` is undefined before the first migration. */
export interface SchemaState {
  readonly migrations: readonly AppliedMigration[] | undefined
}

interface TableStep extends MigrationFile {
  readonly number: number
  readonly name: string
}

/**
 * The steps that bring a schema from `state` to `files`; none when it is up to date.
 *
 * In the files, `millrace.` stands for the schema and its dot wherever it appears, in string literals and comments
 * too (write `'millrace' || '.x'` for a text of that kind).
 *
 * @throws {MillraceError} `schema_too_new`, `migration_changed`, `invalid_configuration` (a schema's name)
 */
export function planMigration(
  files: readonly MigrationFile[],
  state: SchemaState,
  schema = 'millrace',
): MigrationStep[] {
  checkSchemaName(schema)
  const tables = tableSteps(files)
  const applied = state.migrations ?? []
  checkApplied(tables, applied)
  const steps: MigrationStep[] = []
  if (!state.migrations) steps.push({ label: `schema ${schema}`, sql: openSchema(schema) })
  const done = new Set(applied.map(({ number }) => number))
  for (const step of tables) {
    if (!done.has(step.number))
      steps.push({ label: step.path, sql: `${qualify(step.text, schema)}\n${record(step, schema)}` })
  }
  const living = functionsStep(files, schema)
  if (applied.find(({ number }) => number === 0)?.checksum !== living.checksum) steps.push(living.step)
  return steps
}

/** Refuses names that could not stand inside the string literals, format strings and bodies of our own files. */
function checkSchemaName(schema: string): void {
  const bytes = utf8ToBytes(schema).length
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  if (bytes >= 1 && bytes <= 63 && !/[\x00-\x1f'\\%$*/]/.test(schema) && !schema.startsWith('pg_')) return
  throw new MillraceError('invalid_configuration', `A schema cannot be named ${JSON.stringify(schema)}`, {
    hint: "1 to 63 bytes, without control characters and ' \\ % $ * /, and not starting with pg_.",
  })
}

/** A file's text with the real schema in it. */
const qualify = (text: string, schema: string): string =>
  // A function as replacement: in a string, `$` would have a meaning of its own.
  text.replace(/(?<![\w$".])millrace\./g, () => `${quoteIdentifier(schema)}.`)

/** The same for every platform's line ends. */
const checksum = (text: string): string => bytesToHex(sha256(utf8ToBytes(text.replaceAll('\r\n', '\n'))))

const byPath = (a: MigrationFile, b: MigrationFile) => (a.path < b.path ? -1 : 1)

function tableSteps(files: readonly MigrationFile[]): TableStep[] {
  const steps = files
    .filter(({ path }) => path.startsWith('tables/'))
    .sort(byPath)
    .map(file => {
      const name = file.path.slice('tables/'.length)
      return { ...file, name, number: Number.parseInt(name, 10) }
    })
  const wrong = steps.find(({ number }, index) => number !== index + 1)
  if (!wrong) return steps
  throw new MillraceError('invalid_configuration', `migrations/${wrong.path} breaks the sequence 001, 002, 003 ...`)
}

function checkApplied(tables: readonly TableStep[], applied: readonly AppliedMigration[]): void {
  for (const { number, name, checksum: recorded } of applied.filter(row => row.number > 0)) {
    const step = tables[number - 1]
    if (!step) {
      throw new MillraceError(
        'schema_too_new',
        `The schema has migration ${number} (${name}), which is newer than this Millrace`,
        {
          hint: `This version knows migrations up to ${tables.length}: install the version that applied ${number}, or a later one.`,
        },
      )
    }
    if (checksum(step.text) !== recorded) {
      throw new MillraceError(
        'migration_changed',
        `${step.path} is not what was applied as migration ${number} (${name})`,
        {
          hint: 'Steps are never edited once applied: restore the file, and put the change into a new step.',
        },
      )
    }
  }
}

/** The schema may have been made beforehand by somebody who may create one, and given to us. */
const openSchema = (schema: string): string => `
do $$ begin
  if not exists (select from pg_namespace where nspname = '${schema}') then
    create schema ${quoteIdentifier(schema)};
  end if;
end $$;
create table ${quoteIdentifier(schema)}.migration (
  number int primary key,
  name text not null,
  checksum text not null,
  applied_at timestamptz not null default now()
);`

const record = (step: TableStep, schema: string): string => `
insert into ${quoteIdentifier(schema)}.migration (number, name, checksum)
values (${step.number}, '${step.name}', '${checksum(step.text)}');`

/** Alphabetical, with `view_*.sql` last: a view needs its functions, while functions are checked at the very end. */
function functionFiles(files: readonly MigrationFile[]): MigrationFile[] {
  const isView = ({ path }: MigrationFile) => path.startsWith('functions/view_')
  const living = files.filter(({ path }) => path.startsWith('functions/')).sort(byPath)
  return [...living.filter(file => !isView(file)), ...living.filter(isView)]
}

function functionsStep(files: readonly MigrationFile[], schema: string): { step: MigrationStep; checksum: string } {
  const living = functionFiles(files)
  const sum = checksum([...living.map(({ path, text }) => `${path}\n${text}`), secureLiving('millrace')].join('\n'))
  const sql = [
    keepGrants(schema),
    dropLiving(schema),
    'set local check_function_bodies = off;',
    ...living.map(({ path, text }) => `-- ${path}\n${qualify(text, schema)}`),
    'set local check_function_bodies = on;',
    checkLiving(schema),
    secureLiving(schema),
    restoreGrants,
    grantRoles(schema),
    `insert into ${quoteIdentifier(schema)}.migration (number, name, checksum) values (0, 'functions', '${sum}')`,
    'on conflict (number) do update set checksum = excluded.checksum, applied_at = now();',
  ]
  return { step: { label: `${living.length} files of functions/`, sql: sql.join('\n') }, checksum: sum }
}
