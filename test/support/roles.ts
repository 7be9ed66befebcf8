// A schema that an ordinary user owns, and a user of the database for every role.

import { cloneDatabase } from 'millrace/testing'
import postgres from 'postgres'
import { afterAll, beforeAll, inject } from 'vitest'
import { grantRole } from '../../core/role-grants.ts'
import { type Role, roleNames } from '../../core/roles.ts'
import { migrateDatabase } from '../../functions/node/migrations.ts'
import { type PostgresSql, postgresSql } from '../../functions/node/postgres-sql.ts'

export type Login = Role | 'owner' | 'nobody'

export interface RoleDatabase {
  readonly schema: string
  /** As a superuser. */
  readonly sql: postgres.Sql
  readonly superuserUrl: string
  readonly name: string
  /** What the user is called, and where it connects to. */
  user(login: Login): string
  url(login: Login): string
  /** A client of the user's, closed after the file's tests. */
  as(login: Login): postgres.Sql
  /** The same as a port. */
  port(login: Login): PostgresSql
}

const LOGINS: readonly Login[] = ['owner', 'nobody', ...roleNames]

/** Once for the file; what it answers can be used in tests and hooks. */
export function useRoles(schema = 'millrace'): RoleDatabase {
  let database: Awaited<ReturnType<typeof cloneDatabase>>
  const open: (() => Promise<void>)[] = []
  const clients = new Map<Login, postgres.Sql>()
  const user = (login: Login) => `${login} of "${database.name}"`
  const url = (login: Login) =>
    Object.assign(new URL(database.url), { username: encodeURIComponent(user(login)), password: 'secret' }).href
  const as = (login: Login) => {
    const client = clients.get(login) ?? postgres(url(login), { max: 3, fetch_types: false, onnotice: () => undefined })
    clients.set(login, client)
    return client
  }
  beforeAll(async () => {
    database = await cloneDatabase(inject('postgres').url, 'template1')
    for (const login of LOGINS) {
      await database.sql.unsafe(`create role ${quoted(user(login))} login password 'secret'`)
    }
    await database.sql.unsafe(`grant create on database ${database.name} to ${quoted(user('owner'))}`)
    await migrateDatabase(url('owner'), { schema })
    for (const role of roleNames)
      await as('owner')
        .unsafe(grantRole(schema, role, user(role)).join('\n'))
        .simple()
  })
  afterAll(async () => {
    await Promise.all([...[...clients.values()].map(client => client.end({ timeout: 2 })), ...open.map(end => end())])
    const users = LOGINS.map(login => quoted(user(login))).join(', ')
    await database.sql.unsafe(`drop owned by ${users} cascade; drop role ${users}`).simple()
    await database.drop()
  })
  return {
    schema,
    get sql() {
      return database.sql
    },
    get superuserUrl() {
      return database.url
    },
    get name() {
      return database.name
    },
    user,
    url,
    as,
    port: login => {
      const port = postgresSql(url(login), { max: 4, applicationName: login })
      open.push(() => port.end(1))
      return port
    },
  }
}

export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`
