// What a role has no right to is refused before anything happens: other roles' functions, internal ones, and every table.

import type postgres from 'postgres'
import { beforeAll, describe, expect, test } from 'vitest'
import { functionsOf, markerOf, roleNames } from '../../core/roles.ts'
import { type Login, quoted, useRoles } from '../support/roles.ts'

const database = useRoles()
const logins: readonly Login[] = [...roleNames, 'nobody']

const allowed = (login: Login): readonly string[] =>
  login === 'nobody' || login === 'owner' ? [] : [...functionsOf(login), markerOf(login)]

beforeAll(async () => {
  await database.as('owner').unsafe(`
    select millrace.enqueue('work', '{"secret": "kept"}') from generate_series(1, 3);
    select millrace.enqueue('work', '{}', delay => '1 hour');
    select from millrace.claim(millrace.runtime_start('somebody'), 1);
    insert into millrace.queue (name) values ('mine');`)
})

/** Statements, one for each function that the login may not call. */
async function forbiddenCalls(login: Login): Promise<string[]> {
  const rows = await database.sql<{ name: string; call: string }[]>`
    select proname as name, format('select from millrace.%I(%s)', proname, (
      select string_agg('null::' || format_type(type, null), ', ' order by n) from unnest(proargtypes) with ordinality a(type, n))) as call
    from pg_proc where pronamespace = 'millrace'::regnamespace and prorettype <> 'trigger'::regtype
      and not proisstrict -- given nulls, they are not called at all
    order by proname`
  return rows.filter(({ name }) => !allowed(login).includes(name)).map(({ call }) => call)
}

async function rawAccess(): Promise<string[]> {
  const relations = await database.sql<{ name: string; kind: string; first: string }[]>`
    select c.oid::regclass::text as name, relkind as kind, quote_ident(a.attname) as first
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum = 1
    where relnamespace = 'millrace'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'S')`
  return relations.flatMap(({ name, kind, first }) => {
    if (kind === 'S')
      return [`select nextval('${name}')`, `select setval('${name}', 1)`, `select last_value from ${name}`]
    const verbs = [`select from ${name}`, `delete from ${name}`, `update ${name} set ${first} = default`]
    return [...verbs, `truncate ${name}`, `insert into ${name} default values`, `lock table ${name} in exclusive mode`]
  })
}

const definitions = [
  'create table millrace.mine (id int)',
  "create function millrace.mine() returns int language sql as 'select 1'",
  'create or replace function millrace.wake(reason text) returns void language sql as $$ $$',
  'drop function millrace.wake(text)',
  'drop table millrace.job_log',
  'drop schema millrace cascade',
  'alter schema millrace rename to ours',
  'alter schema millrace owner to current_user',
  'alter table millrace.job_log disable trigger all',
  'create trigger mine before insert on millrace.queue for each row execute function suppress_redundant_updates_trigger()',
  'create view public.mine as select * from millrace.job_log',
  'create table millrace_mine (job bigint references millrace.queue (name))',
]

/** The SQLSTATE of each statement that is not refused for want of a right. */
async function notRefused(client: postgres.Sql, statements: readonly string[]): Promise<string[]> {
  const wrong: string[] = []
  for (const statement of statements) {
    const code = await client
      .begin(async tx => {
        await tx.unsafe(statement)
        throw Object.assign(new Error('done'), { code: 'done' })
      })
      .catch(error => error.code)
    if (code !== '42501') wrong.push(`${statement}: ${code}`)
  }
  return wrong
}

/** All rows of all tables. */
async function everything(): Promise<unknown> {
  const tables = await database.sql<{ name: string }[]>`
    select oid::regclass::text as name from pg_class where relnamespace = 'millrace'::regnamespace and relkind in ('r', 'S')
    order by relname`
  const parts = tables.map(
    ({ name }) =>
      `select '${name}' as name, md5(coalesce(string_agg(row(t.*)::text, ',' order by row(t.*)::text), '')) as rows from ${name} t`,
  )
  return database.sql.unsafe(parts.join(' union all ')).then(rows => [...rows])
}

describe.each(logins)('%s', login => {
  test('is refused what others may call, what nobody may call, and every table', async () => {
    const statements = [...(await forbiddenCalls(login)), ...(await rawAccess()), ...definitions]
    expect(statements.length).toBeGreaterThan(200)
    const before = await everything()
    expect(await notRefused(database.as(login), statements)).toEqual([])
    expect(await everything()).toEqual(before)
  })
})

test('the same statements are not refused to the owner, for want of a right', async () => {
  const statements = (await rawAccess()).filter(statement => statement.startsWith('select'))
  const wrong = await notRefused(database.as('owner'), statements)
  expect(wrong).toEqual(statements.map(statement => `${statement}: done`))
})

test('a role that is given to a user by membership is no more than the role', async () => {
  const nobody = database.user('nobody')
  await database.sql.unsafe(`grant ${quoted(database.user('enqueuer'))} to ${quoted(nobody)}`)
  const client = database.as('nobody')
  expect(await client`select millrace.enqueue('work') is not null as enqueued`).toEqual([{ enqueued: true }])
  await expect(client`select millrace.rotate()`).rejects.toMatchObject({ code: '42501' })
  await database.sql.unsafe(`revoke ${quoted(database.user('enqueuer'))} from ${quoted(nobody)}`)
  await expect(client`select millrace.enqueue('work')`).rejects.toMatchObject({ code: '42501' })
})
