// `millrace roles` as an administrator uses it, with and without the right to create roles.

import { expect, onTestFinished, test, vi } from 'vitest'
import { functionsOf, roleNames } from '../../core/roles.ts'
import { runCli } from '../support/cli.ts'
import { type Login, quoted, useRoles } from '../support/roles.ts'

const schema = 'Mill "race"'
const database = useRoles(schema)
vi.setConfig({ testTimeout: 60_000 })

const millrace = (login: Login | 'superuser', ...words: string[]) =>
  runCli(['roles', ...words, '--schema', schema], {
    env: { DATABASE_URL: login === 'superuser' ? database.superuserUrl : database.url(login) },
  })

const json = async (login: Login | 'superuser', ...words: string[]) => {
  const { stdout, stderr } = await millrace(login, ...words, '--json')
  return JSON.parse(stdout || stderr)
}

const mayEnqueue = async (user: string): Promise<boolean> => {
  const [row] = await database.sql`
    select has_schema_privilege(${user}, n.oid, 'usage') and has_function_privilege(${user}, p.oid, 'execute') as may
    from pg_proc p join pg_namespace n on n.oid = pronamespace where nspname = ${schema} and proname = 'enqueue'`
  return row?.may
}

test('list: the owner, and who has which role', async () => {
  const { owner, items } = await json('reader', 'list')
  expect(owner).toEqual({ name: database.user('owner'), superuser: false })
  expect(items).toEqual(roleNames.map(role => ({ role, holders: [database.user(role)], functions: functionsOf(role) })))
  const { stdout } = await millrace('reader', 'list')
  expect(stdout).toMatch(/^ROLE +MAY CALL +HELD BY\nenqueuer +\d+ functions +enqueuer of /)
  expect(stdout).not.toContain('superuser')
})

test('grant and revoke, as an owner that may create no roles; what other roles have stays', async () => {
  const user = database.user('nobody')
  expect(await json('owner', 'grant', 'enqueuer', '--to', user)).toEqual({ schema, role: 'enqueuer', user })
  expect((await millrace('owner', 'grant', 'operator', '--to', user)).stdout).toBe(`${user} is operator\n`)
  expect(await mayEnqueue(user)).toBe(true)
  expect(await json('owner', 'revoke', 'operator', '--from', user)).toMatchObject({ left: ['enqueuer'] })
  expect(await mayEnqueue(user)).toBe(true)
  await millrace('owner', 'revoke', 'enqueuer', '--from', user)
  expect(await mayEnqueue(user)).toBe(false)
})

test('not to everybody, and not from the owner, without whose rights no function runs', async () => {
  expect((await json('owner', 'grant', 'enqueuer', '--to', 'public')).error).toMatchObject({ code: 'usage' })
  const owner = database.user('owner')
  const refused = await json('superuser', 'revoke', 'enqueuer', '--from', owner)
  expect(refused.error).toMatchObject({ code: 'not_permitted' })
  expect(await mayEnqueue(owner)).toBe(true)
  expect(await mayEnqueue('public')).toBe(false)
})

test('create: roles to make users members of; whoever may not create them is told who can do what', async () => {
  const prefix = `mill_${database.name}`
  const refused = await json('owner', 'create', '--prefix', prefix)
  expect(refused.error).toMatchObject({ code: 'not_permitted' })
  expect(refused.error.hint).toContain(`create role "${prefix}_enqueuer" nologin;`)
  const left = await database.sql`select from pg_roles where starts_with(rolname, ${prefix})`
  expect(left).toHaveLength(0)

  const names = Object.fromEntries(roleNames.map(role => [role, `${prefix}_${role}`]))
  onTestFinished(async () => {
    const all = Object.values(names).map(quoted).join(', ')
    await database.sql.unsafe(`drop owned by ${all}; drop role ${all}`).simple()
  })
  expect(await json('superuser', 'create', '--prefix', prefix)).toEqual({
    schema,
    roles: names,
    created: Object.values(names),
  })
  // Once they exist, the owner can do the rest.
  expect(await json('owner', 'create', '--prefix', prefix)).toMatchObject({ created: [] })
  await database.sql.unsafe(`grant ${quoted(`${prefix}_enqueuer`)} to ${quoted(database.user('nobody'))}`)
  expect(await mayEnqueue(database.user('nobody'))).toBe(true)
})

test('--sql prints what would be done, without a database, and does nothing', async () => {
  const user = 'o"dd'
  const { stdout } = await runCli(['roles', 'grant', 'ingress', '--to', user, '--sql', '--schema', schema])
  expect(stdout).toContain('grant usage on schema "Mill ""race""" to "o""dd";\ngrant execute on function\n')
  await database.sql.unsafe(`create role ${quoted(user)}`)
  onTestFinished(async () => {
    await database.sql.unsafe(`drop owned by ${quoted(user)}; drop role ${quoted(user)}`).simple()
  })
  await database.as('owner').unsafe(stdout).simple()
  expect((await json('owner', 'list')).items).toContainEqual(
    expect.objectContaining({ role: 'ingress', holders: [database.user('ingress'), user] }),
  )
  const created = await runCli(['roles', 'create', '--sql', '--prefix', 'p', '--json'])
  expect(JSON.parse(created.stdout).sql).toContain('create role "p_maintenance" nologin;')
})

test('after a dump was restored without rights, what everybody may call ends with the first grant', async () => {
  const user = database.user('nobody')
  await database.sql.unsafe(`grant execute on all functions in schema ${quoted(schema)} to public`)
  expect((await millrace('owner', 'grant', 'reader', '--to', user)).status).toBe(0)
  expect(await mayEnqueue(user)).toBe(false)
  expect((await millrace('owner', 'revoke', 'reader', '--from', user)).status).toBe(0)
})

test('mistakes are told, and change nothing', async () => {
  expect(await millrace('owner', 'grant', 'enquerer', '--to', 'x')).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('There are: enqueuer'),
  })
  expect(await millrace('owner', 'grant', 'enqueuer')).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('--to USER'),
  })
  expect(await millrace('owner', 'grant', 'enqueuer', '--to', 'no such user')).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('does not exist'),
  })
  expect(await millrace('operator', 'grant', 'owner', '--to', 'x')).toMatchObject({ status: 2 })
  expect(await millrace('enqueuer', 'grant', 'operator', '--to', database.user('enqueuer'))).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('[42501]'),
  })
  expect((await json('owner', 'create', '--prefix', 'x'.repeat(60))).error.code).toBe('usage')
  const elsewhere = await runCli(['roles', 'list', '--json'], { env: { DATABASE_URL: database.url('owner') } })
  expect(JSON.parse(elsewhere.stderr).error.code).toBe('schema_missing')
})
