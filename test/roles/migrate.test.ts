// What users were given outlives the replacement of all functions; what roles gain or lose by it reaches their holders.

import { expect, onTestFinished, test } from 'vitest'
import { migrate } from '../../core/migrate.ts'
import { functionsOf, markerOf, roleNames } from '../../core/roles.ts'
import { migrateDatabase, packageMigrations, withMigrationDatabase } from '../../functions/node/migrations.ts'
import { type Login, quoted, useRoles } from '../support/roles.ts'

const schema = 'Of "us"'
const database = useRoles(schema)
const engine = quoted(schema)

let version = 0
/** The functions of the next version, which differ from these by a comment. */
async function migrateAs(login: Login | 'superuser') {
  version++
  const files = (await packageMigrations()).map(file =>
    file.path === 'functions/wake.sql' ? { ...file, text: `${file.text}-- ${version}` } : file,
  )
  const url = login === 'superuser' ? database.superuserUrl : database.url(login)
  const { steps } = await withMigrationDatabase(url, connection => migrate(connection, files, { schema }))
  expect(steps).toHaveLength(1)
}

const may = async (login: Login): Promise<string[]> => {
  const rows = await database.sql<{ name: string }[]>`
    select proname as name from pg_proc p join pg_namespace n on n.oid = pronamespace
    where nspname = ${schema} and has_function_privilege(${database.user(login)}, p.oid, 'execute') order by proname`
  return rows.map(({ name }) => name)
}

const ofRole = (role: (typeof roleNames)[number]) => [...functionsOf(role), markerOf(role)].sort()

test('every role has what it had, whoever migrates', async () => {
  await migrateAs('owner')
  for (const role of roleNames) expect(await may(role)).toEqual(ofRole(role))
  await migrateAs('superuser')
  for (const role of roleNames) expect(await may(role)).toEqual(ofRole(role))
  const owners = await database.sql`
    select distinct pg_get_userbyid(o) as owner from (
      select proowner as o, pronamespace as n from pg_proc union all select relowner, relnamespace from pg_class) made
    where n = (select oid from pg_namespace where nspname = ${schema})`
  expect([...owners]).toEqual([{ owner: database.user('owner') }])
})

test('a schema that was made for somebody belongs to that one, though a superuser migrates', async () => {
  const owner = quoted(database.user('nobody'))
  await database.sql.unsafe(`create schema given authorization ${owner}`)
  onTestFinished(async () => {
    await database.sql`drop schema given cascade`
  })
  await migrateDatabase(database.superuserUrl, { schema: 'given' })
  const [row] =
    await database.sql`select pg_get_userbyid(proowner) as owner from pg_proc where oid = 'given.claim'::regproc`
  expect(row).toEqual({ owner: database.user('nobody') })
})

test('holders get what their role gains and lose what it loses; what they have besides stays', async () => {
  const app = quoted(database.user('enqueuer'))
  await database.as('owner').unsafe(`
    -- As a version before left it: claim was the enqueuer's, enqueue_many was not.
    comment on function ${engine}.role_enqueuer() is 'enqueue claim';
    grant execute on function ${engine}.claim to ${app};
    revoke execute on function ${engine}.enqueue_many from ${app};
    -- By hand.
    grant execute on function ${engine}.job_counts to ${app};`)
  await migrateAs('owner')
  expect(await may('enqueuer')).toEqual([...ofRole('enqueuer'), 'job_counts'].sort())
  await database.as('owner').unsafe(`revoke execute on function ${engine}.job_counts from ${app}`)
})

test('nothing is ever given back to everybody', async () => {
  await database.as('owner').unsafe(`grant execute on all functions in schema ${engine} to public`)
  expect((await may('nobody')).length).toBeGreaterThan(100)
  await migrateAs('owner')
  expect(await may('nobody')).toEqual([])
})
