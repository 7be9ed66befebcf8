// Migrating: one transaction, idempotent, serialised, for any schema name and any role that may create a schema.

import postgres from 'postgres'
import { expect, onTestFinished, test } from 'vitest'
import { migrate, migrationScript } from '../core/migrate.ts'
import { type MigrationFile, planMigration } from '../core/migrate-plan.ts'
import { migrateDatabase, packageMigrations, withMigrationDatabase } from '../functions/node/migrations.ts'
import { runCli } from './support/cli.ts'
import { useDatabase } from './support/database.ts'

const database = useDatabase()

const steps: MigrationFile[] = [
  { path: 'tables/001_base.sql', text: 'create table millrace.item (id int primary key);' },
  { path: 'tables/002_name.sql', text: 'alter table millrace.item add name text;' },
]
const functions: MigrationFile[] = [
  {
    path: 'functions/a_uses_b.sql',
    text: 'create function millrace.a() returns int language sql as $$ select millrace.b() $$;',
  },
  { path: 'functions/b.sql', text: 'create function millrace.b() returns int language sql as $$ select 7 $$;' },
  { path: 'functions/view_c.sql', text: 'create view millrace.c as select millrace.a() as value;' },
]
const files = [...steps, ...functions]

const run = (schema: string, list = files, options: { dryRun?: boolean; onStep?: (label: string) => void } = {}) =>
  withMigrationDatabase(database.url, connection => migrate(connection, list, { schema, ...options }))

test('applies what is pending, says so step by step, and nothing the second time', async () => {
  const heard: string[] = []
  const first = await run('twice', files, { onStep: label => heard.push(label) })
  expect(first.steps).toEqual(['schema twice', 'tables/001_base.sql', 'tables/002_name.sql', '3 files of functions/'])
  expect(heard).toEqual(first.steps)
  expect((await run('twice')).steps).toEqual([])
})

test('parallel runs wait for each other, and one of them does the work', async () => {
  const results = await Promise.all([run('parallel'), run('parallel'), run('parallel')])
  expect(results.map(({ steps }) => steps.length).sort()).toEqual([0, 0, 4])
})

test('a failing step undoes the whole run and is named in the error', async () => {
  const broken = [...files, { path: 'tables/003_broken.sql', text: 'create table millrace.item ();' }]
  await expect(run('broken', broken)).rejects.toThrow('tables/003_broken.sql: relation "item" already exists')
  expect(await database.sql`select to_regnamespace('broken') as schema`).toEqual([{ schema: null }])
})

test('a wrong function body is found when migrating, not when it is first called', async () => {
  const wrong = {
    path: 'functions/d.sql',
    text: 'create function millrace.d() returns int language sql as $$ select nope $$;',
  }
  await expect(run('wrong_body', [...files, wrong])).rejects.toThrow('wrong_body.d(): column "nope" does not exist')
})

test('functions and views are replaced as a whole, changed signatures included', async () => {
  await run('living')
  const changed = functions.map(file =>
    file.path === 'functions/b.sql'
      ? {
          ...file,
          text: 'create function millrace.b(plus int default 1) returns int language sql as $$ select 7 + plus $$;',
        }
      : file,
  )
  expect((await run('living', [...steps, ...changed])).steps).toEqual(['3 files of functions/'])
  expect(await database.sql`select value from living.c`).toEqual([{ value: 8 }])
  const overloads = await database.sql`select oid::regprocedure::text as b from pg_proc where proname = 'b'
    and pronamespace = 'living'::regnamespace`
  expect(overloads).toEqual([{ b: 'living.b(integer)' }])
  // One that is gone from the files is gone from the schema.
  await run('living', [...steps, ...functions.filter(({ path }) => path !== 'functions/view_c.sql')])
  expect(await database.sql`select to_regclass('living.c') as view`).toEqual([{ view: null }])
})

test('who may call a function and read a view outlives their replacement', async () => {
  const { role } = await ordinaryRole()
  await run('granted')
  await database.sql
    .unsafe(`revoke execute on function granted.b() from public; grant execute on function granted.b() to ${role};
      grant select on granted.c to ${role} with grant option`)
    .simple()
  await run('granted', [...files, { path: 'functions/d.sql', text: '' }])
  const [rights] = await database.sql`select has_function_privilege(${role}, 'granted.b()', 'execute') as call,
    has_table_privilege(${role}, 'granted.c', 'select with grant option') as read,
    (select proacl::text ~ '[{,]=' from pg_proc where oid = 'granted.b()'::regprocedure) as public`
  expect(rights).toEqual({ call: true, read: true, public: false })
})

test("objects of the user's that depend on our functions stop the migration, and are named", async () => {
  await run('blocked')
  await database.sql.unsafe('create view public.of_the_user as select blocked.a()')
  await expect(run('blocked', files.slice(0, -1))).rejects.toMatchObject({
    code: 'migration_blocked',
    message: expect.stringContaining('of_the_user'),
  })
  expect(await database.sql`select value from blocked.c`).toEqual([{ value: 7 }])
})

test('refuses a schema that a newer version migrated', async () => {
  await run('newer')
  await expect(
    run(
      'newer',
      files.filter(({ path }) => path !== 'tables/002_name.sql'),
    ),
  ).rejects.toMatchObject({
    code: 'schema_too_new',
  })
})

test('refuses steps that were edited after they were applied; line ends do not count', async () => {
  await run('edited')
  const withText = (text: string) => files.map(file => (file === steps[1] ? { ...file, text } : file))
  const edited = withText('alter table millrace.item add name varchar;')
  await expect(run('edited', edited)).rejects.toMatchObject({ code: 'migration_changed' })
  await run('crlf', withText('alter table millrace.item\nadd name text;'))
  expect((await run('crlf', withText('alter table millrace.item\r\nadd name text;'))).steps).toEqual([])
})

test('refuses a schema that holds other things, since it replaces all functions in its own', async () => {
  await database.sql.unsafe('create schema taken; create function taken.theirs() returns int language sql return 1')
  await expect(run('taken')).rejects.toMatchObject({ code: 'schema_not_empty' })
})

test('a dry run tells the steps and changes nothing', async () => {
  expect((await run('dry', files, { dryRun: true })).steps).toHaveLength(4)
  expect(await database.sql`select to_regnamespace('dry') as schema`).toEqual([{ schema: null }])
})

test('the real migrations work under a schema name that needs quoting', async () => {
  const schema = 'My Jobs"x'
  await migrateDatabase(database.url, { schema })
  const [row] = await database.sql`select "My Jobs""x".enqueue('render_receipt', '{"orderId": 42}') as id`
  expect(row).toEqual({ id: '1' })
  expect((await migrateDatabase(database.url, { schema })).steps).toEqual([])
})

test('schema names that could not stand in our files are refused', () => {
  for (const schema of ['', "it's", '50%', 'a$b', 'a\nb', 'pg_jobs', 'x'.repeat(64)]) {
    expect(() => planMigration(files, { migrations: undefined }, schema), schema).toThrow('A schema cannot be named')
  }
})

test('gaps in the numbering are refused', () => {
  const gap = [{ path: 'tables/002_late.sql', text: '' }]
  expect(() => planMigration(gap, { migrations: undefined })).toThrow(
    'migrations/tables/002_late.sql breaks the sequence',
  )
})

/** A URL of the test's database for a new role without any privilege of its own. */
async function ordinaryRole(): Promise<{ role: string; url: string }> {
  const role = `role_${database.name}_${Math.random().toString(36).slice(2)}`
  await database.sql.unsafe(`create role ${role} login password 'secret'`)
  onTestFinished(async () => {
    await database.sql.unsafe(`drop owned by ${role} cascade; drop role ${role}`).simple()
  })
  const url = Object.assign(new URL(database.url), { username: role, password: 'secret' }).href
  return { role, url }
}

test('a role that is no superuser needs only the right to create a schema', async () => {
  const { role, url } = await ordinaryRole()
  await database.sql.unsafe(`grant create on database ${database.name} to ${role}`)
  await migrateDatabase(url, { schema: 'own' })
  expect((await migrateDatabase(url, { schema: 'own' })).steps).toEqual([])
})

test('or none at all, given an empty schema of its own', async () => {
  const { role, url } = await ordinaryRole()
  await database.sql.unsafe(`create schema given authorization ${role}`)
  await migrateDatabase(url, { schema: 'given' })
  const sql = postgres(url, { max: 1, fetch_types: false })
  expect(await sql`select given.enqueue('render_receipt', '{}') as id`).toEqual([{ id: '1' }])
  await sql.end()
})

test('the printed script does what migrate does, and refuses another state than its own', async () => {
  const psql = postgres(database.url, { max: 1, fetch_types: false, onnotice: () => undefined })
  await psql.unsafe(await migrationScript(files, { schema: 'printed' })).simple()
  expect((await run('printed')).steps).toEqual([])
  const rest = [...files, { path: 'tables/003_more.sql', text: 'create table millrace.more (id int);' }]
  const pending = await withMigrationDatabase(database.url, connection =>
    migrationScript(rest, { schema: 'printed', database: connection }),
  )
  await psql.unsafe(pending).simple()
  expect((await run('printed', rest)).steps).toEqual([])
  const again = psql.unsafe(pending).simple()
  await expect(again).rejects.toThrow('this script was made for another state of the schema')
  await psql.end()
})

test('`millrace migrate` prints progress, and JSON on demand', async () => {
  const target = ['--database-url', database.url, '--schema', 'by_cli']
  const dry = await runCli(['migrate', '--dry-run', '--json', ...target])
  const files = (await packageMigrations()).filter(({ path }) => path.startsWith('tables/'))
  expect(JSON.parse(dry.stdout).steps).toHaveLength(files.length + 2)
  const first = await runCli(['migrate', ...target])
  expect(first).toMatchObject({ status: 0, stderr: expect.stringContaining('applying tables/001_engine.sql') })
  const second = await runCli(['migrate', ...target])
  expect(second).toEqual({ status: 0, stdout: 'schema by_cli is up to date\n', stderr: '' })
})
