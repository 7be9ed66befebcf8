// The rights of the database are those of the table in core/roles.ts: nothing is missing, nothing is too much.

import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { functionsOf, markerOf, type Role, roleNames } from '../../core/roles.ts'
import { quoted, useRoles } from '../support/roles.ts'

/** A name that has to be quoted wherever it stands. */
const database = useRoles('Mill "race"')

const listed = new Set(roleNames.flatMap(functionsOf))

const functions = async (): Promise<
  { name: string; args: string; body: string; definer: boolean; config: string[] }[]
> =>
  database.sql`
    select proname as name, pg_get_function_identity_arguments(oid) as args, prosrc as body, prosecdef as definer,
      coalesce(to_jsonb(proconfig), '[]') as config
    from pg_proc where pronamespace = (select oid from pg_namespace where nspname = ${database.schema}) order by proname`

/** What a user may do to what there is, in any way. */
async function rightsOf(user: string) {
  const [rights] = await database.sql`
    select
      to_jsonb(array(select proname::text from pg_proc where pronamespace = n.oid and has_function_privilege(u, oid, 'execute')
        order by proname)) as functions,
      to_jsonb(array(select relname::text from pg_class where relnamespace = n.oid and relkind in ('r', 'p', 'v', 'm', 'f')
        and (has_table_privilege(u, oid, 'select, insert, update, delete, truncate, references, trigger')
          or has_any_column_privilege(u, oid, 'select, insert, update, references')))) as tables,
      to_jsonb(array(select relname::text from pg_class where relnamespace = n.oid and case relkind
        when 'S' then has_sequence_privilege(u, oid, 'usage, select, update') else false end)) as sequences,
      has_schema_privilege(u, n.oid, 'usage') as usage, has_schema_privilege(u, n.oid, 'create') as create
    from pg_namespace n, (select ${user}::text as u) who where n.nspname = ${database.schema}`
  return rights
}

describe('exactly the rights of the table', () => {
  test.each(roleNames)('%s', async role => {
    expect(await rightsOf(database.user(role))).toEqual({
      functions: [...functionsOf(role), markerOf(role)].sort(),
      ...{ tables: [], sequences: [], usage: true, create: false },
    })
  })

  test('nobody else may do anything', async () => {
    const none = { functions: [], tables: [], sequences: [], usage: false, create: false }
    expect(await rightsOf(database.user('nobody'))).toEqual(none)
    expect(await rightsOf('public')).toEqual(none)
  })

  test('looking at rights sees what there is', async () => {
    const rights = await rightsOf(database.user('owner'))
    expect(rights).toMatchObject({ usage: true, create: true })
    expect(rights?.functions).toEqual((await functions()).map(({ name }) => name))
    expect(rights?.tables).toContain('job_log')
    expect(rights?.sequences).toContain('job_id')
  })
})

test('every listed function exists, once', async () => {
  const names = (await functions()).map(({ name }) => name).filter(name => listed.has(name))
  expect(names).toEqual([...listed].sort())
})

// Whoever adds a function that TypeScript or users call lists it in core/roles.ts.
test('every function is listed for a role, or used by another one', async () => {
  const all = await functions()
  const triggers =
    await database.sql`select distinct tgfoid::regproc::text as name from pg_trigger where not tgisinternal`
  const triggered = triggers.map(({ name }) => String(name))
  const markers: string[] = roleNames.map(markerOf)
  const call = (name: string) => `${quoted(database.schema)}.${name}(`
  const unknown = all
    .map(({ name }) => name)
    .filter(name => !listed.has(name) && !markers.includes(name))
    .filter(name => !triggered.some(full => full.endsWith(`.${name}`)))
    .filter(name => !all.some(other => other.name !== name && other.body.includes(call(name))))
  expect(unknown).toEqual([])
})

test('listed functions run with rights of their owner, find nothing by accident, and take plain types only', async () => {
  for (const { name, args, definer, config } of await functions()) {
    expect({ name, definer }).toEqual({ name, definer: listed.has(name) })
    expect(config.filter(setting => setting.startsWith('search_path='))).toEqual(
      listed.has(name) ? ['search_path=pg_catalog, pg_temp'] : [],
    )
    // Others could be made by the caller, and bring code with them.
    if (listed.has(name)) expect(args).not.toMatch(/[".]|any|record|regclass|regproc/)
  }
})

test('dynamic SQL is made of our own names only', async () => {
  const dynamic = (await functions()).filter(({ body }) => /\bexecute\b/i.test(body)).map(({ name }) => name)
  // prune and count_*: the number of a slot goes in; whoever adds one says why it is safe.
  expect(dynamic).toEqual(['count_available', 'count_ended', 'count_open', 'prune'])
})

/** What follows the schema in a statement. */
const NAMED = /\$\{[^}]*(?:schema|engine)[^}]*\}\.([a-z_]+)(\(?)/g

test('TypeScript calls listed functions, and reads no table', async () => {
  const root = fileURLToPath(new URL('../../', import.meta.url))
  const paths = await Promise.all(['core', 'functions'].map(folder => readdir(`${root}${folder}`, { recursive: true })))
  const sources = paths.flatMap((names, n) => names.map(name => `${['core', 'functions'][n]}/${name}`))
  const wrong: string[] = []
  let calls = 0
  for (const path of sources.filter(name => name.endsWith('.ts') && !name.startsWith('core/migrate'))) {
    for (const [text, name = '', call] of (await readFile(`${root}${path}`, 'utf8')).matchAll(NAMED)) {
      calls++
      if (call !== '(' || !listed.has(name)) wrong.push(`${path}: ${text}`)
    }
  }
  expect(wrong).toEqual([])
  expect(calls).toBeGreaterThan(20)
})

test('a function that another role has is none of this one', () => {
  const has = (role: Role, name: string) => functionsOf(role).includes(name)
  for (const role of roleNames.filter(role => role !== 'maintenance')) expect(has(role, 'claim')).toBe(false)
  for (const role of roleNames.filter(role => role !== 'deployer')) expect(has(role, 'sync_manifest')).toBe(false)
})
