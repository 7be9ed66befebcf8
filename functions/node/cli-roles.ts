// `millrace roles`: gives users of the database the rights of one role each, and tells who has which.

import { translateError } from '../../core/database-errors.ts'
import { MillraceError } from '../../core/errors.ts'
import { lockSchema } from '../../core/migrate.ts'
import { createRole, grantRole, type Rights, revokeRole, rightsIn } from '../../core/role-grants.ts'
import { functionsOf, type Role, roleNames } from '../../core/roles.ts'
import type { Sql } from '../../core/sql.ts'
import { adminCommand, none, one } from './cli-admin.ts'
import {
  databaseOption,
  databaseUrl,
  defineCommand,
  Failure,
  type Group,
  type Options,
  type Run,
  schemaOption,
  UsageError,
  type ValuesOf,
} from './cli-command.ts'
import { table } from './cli-table.ts'
import { withMigrationDatabase } from './migrations.ts'
import { postgresSql } from './postgres-sql.ts'

const options = {
  ...databaseOption,
  ...schemaOption,
  sql: { type: 'boolean', help: 'print the statements instead of running them' },
} as const satisfies Options

const LONGEST_NAME = 63

const createCommand = defineCommand({
  name: 'roles create',
  summary: 'Creates a database role for each role of the engine, without login, to make users members of.',
  details: `Those that exist are only given their rights. As the owner of the schema, with CREATEROLE. Then, for each user:
grant millrace_enqueuer to app;`,
  options: { ...options, prefix: { type: 'string', value: 'NAME', help: 'of their names (default: millrace)' } },
  async run({ values, result }) {
    const { schema = 'millrace', prefix = 'millrace' } = values
    const named = roleNames.map(role => ({ role, name: checkedName(`${prefix}_${role}`) }))
    const missing = values.sql ? named : await without(values, named)
    const creating = missing.map(({ name }) => createRole(name))
    const granting = named.flatMap(({ role, name }) => grantRole(schema, role, name))
    const done = named.map(({ role, name }) => `${role}: ${name}`).join('\n')
    await carryOut({ values, result }, [...creating, ...granting], done, {
      roles: Object.fromEntries(named.map(({ role, name }) => [role, name])),
      created: missing.map(({ name }) => name),
    }).catch(error => {
      if (creating.length === 0 || (error as { code?: unknown }).code !== '42501') throw error
      const hint = `An administrator runs this, then the owner of the schema runs the command again:\n${creating.join('\n')}`
      throw new Failure('not_permitted', (error as Error).message, hint)
    })
  },
})

const grantCommand = defineCommand({
  name: 'roles grant',
  operands: '<role>',
  summary: 'Gives a user of the database exactly the rights of a role, also after later migrations.',
  details: `Roles: ${roleNames.join(', ')}. As the owner of the schema; no further right is needed.`,
  options: { ...options, to: { type: 'string', value: 'USER', help: 'who gets it' } },
  async run({ values, positionals, result }) {
    const role = roleOf(positionals)
    const { schema = 'millrace', to: user } = values
    if (!user) throw new UsageError('--to USER is missing')
    if (user === 'public') throw new UsageError('public is everybody: give a role to users, one by one')
    await carryOut({ values, result }, grantRole(schema, role, user), `${user} is ${role}`, { role, user })
  },
})

const revokeCommand = defineCommand({
  name: 'roles revoke',
  operands: '<role>',
  summary:
    'Takes a role from a user of the database, with every other right in the schema but those of its other roles.',
  options: { ...options, from: { type: 'string', value: 'USER', help: 'who loses it' } },
  async run({ values, positionals, result }) {
    const role = roleOf(positionals)
    const { schema = 'millrace', from: user } = values
    if (!user) throw new UsageError('--from USER is missing')
    const { roles, owner } = await rightsOf(values)
    if (user === owner.name)
      throw new Failure('not_permitted', `${user} owns the schema: its functions run with these rights`)
    const left = roles.filter(held => held.role !== role && held.holders.includes(user)).map(held => held.role)
    await carryOut({ values, result }, revokeRole(schema, user, left), `${user} is not ${role}`, { role, user, left })
  },
})

const listCommand = adminCommand({
  name: 'roles list',
  operands: '',
  summary: 'Lists the roles, what each may call, and who has it. The owner may do everything.',
  options: {},
  async run({ positionals, sql, schema, result }) {
    none(positionals)
    const rights = known(await rightsIn(sql, schema), schema)
    const items = rights.roles.map(({ role, holders }) => ({ role, holders, functions: functionsOf(role) }))
    result(listed(rights), { owner: rights.owner, items })
  },
})

function listed({ owner, roles }: Rights): string {
  const rows = [
    ...roles.map(({ role, holders }) => ({ role, holders, may: `${functionsOf(role).length} functions` })),
    { role: 'owner', holders: [owner.name], may: 'everything' },
  ]
  const lines = table(rows, [
    { title: 'ROLE', of: ({ role }) => role },
    { title: 'MAY CALL', of: ({ may }) => may },
    { title: 'HELD BY', of: ({ holders }) => holders.join(', '), shrinks: true },
  ])
  if (owner.superuser)
    lines.push('', `Functions run with the rights of ${owner.name}, a superuser: let an ordinary user own the schema.`)
  return lines.join('\n')
}

type Values = ValuesOf<typeof options>

/** All statements, or none. */
async function carryOut(
  { values, result }: { values: Values; result: Run<Options>['result'] },
  statements: readonly string[],
  done: string,
  facts: object,
): Promise<void> {
  const { schema = 'millrace' } = values
  const script = statements.join('\n')
  if (values.sql) return result(script, { schema, sql: script })
  await withMigrationDatabase(databaseUrl(values), database =>
    database.transaction(transaction => transaction.script(`${lockSchema(schema)}\n${script}`)),
  ).catch(error => {
    throw translateError(error)
  })
  result(done, { schema, ...facts })
}

const looking = async <T>(values: Values, look: (sql: Sql) => Promise<T>): Promise<T> => {
  const sql = postgresSql(databaseUrl(values), { max: 1, prepare: false, applicationName: 'millrace roles' })
  return look(sql).finally(() => sql.end())
}

const rightsOf = async (values: Values): Promise<Rights> => {
  const { schema = 'millrace' } = values
  return known(await looking(values, sql => rightsIn(sql, schema)), schema)
}

function known(rights: Rights | undefined, schema: string): Rights {
  if (rights) return rights
  throw new MillraceError('schema_missing', `There is no schema ${schema}, or one without roles`, {
    hint: 'Run `millrace migrate` against this database, and check the name of the schema',
  })
}

/** Those that the server has no role of that name for. */
async function without<T extends { readonly name: string }>(values: Values, named: readonly T[]): Promise<T[]> {
  const rows = await looking(values, sql =>
    sql.query<{ name: string }>('select rolname as name from pg_catalog.pg_roles'),
  )
  const there = new Set(rows.map(({ name }) => name))
  return named.filter(({ name }) => !there.has(name))
}

function roleOf(words: readonly string[]): Role {
  const role = one(words, 'role')
  if (roleNames.includes(role as Role)) return role as Role
  throw new UsageError(`unknown role "${role}"`, `There are: ${roleNames.join(', ')}.`)
}

/** Postgres would cut a longer one. */
function checkedName(name: string): string {
  if (new TextEncoder().encode(name).length <= LONGEST_NAME) return name
  throw new UsageError(`${name} is longer than ${LONGEST_NAME} bytes: choose a shorter --prefix`)
}

export const rolesGroup: Group = {
  name: 'roles',
  summary: 'Gives users of the database the rights of one role each.',
  commands: [createCommand, grantCommand, revokeCommand, listCommand],
}
