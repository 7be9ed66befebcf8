// Giving a role's rights to a user of the database, and telling who has them: statements for the schema's owner.

import { functionsOf, markerOf, type Role, roleNames } from './roles.ts'
import { quoteIdentifier, type Sql } from './sql.ts'

/** Gives a user exactly what the role may do, and keeps it so over migrations. */
export function grantRole(schema: string, role: Role, user: string): string[] {
  const engine = quoteIdentifier(schema)
  const names = [markerOf(role), ...functionsOf(role)].map(name => `${engine}.${quoteIdentifier(name)}`)
  const to = `to ${quoteIdentifier(user)}`
  return [
    // A dump that was restored without rights has the default one.
    `revoke execute on all functions in schema ${engine} from public;`,
    `grant usage on schema ${engine} ${to};`,
    `grant execute on function\n  ${names.join(',\n  ')}\n  ${to};`,
  ]
}

/** Takes all of the engine's rights from a user but what comes with the roles in `left`. */
export function revokeRole(schema: string, user: string, left: readonly Role[]): string[] {
  const engine = quoteIdentifier(schema)
  const from = `from ${quoteIdentifier(user)}`
  return [
    `revoke execute on all functions in schema ${engine} ${from};`,
    `revoke usage on schema ${engine} ${from};`,
    ...left.flatMap(role => grantRole(schema, role, user)),
  ]
}

/** A role of the database for a role of the engine, that users are made members of. */
export const createRole = (name: string): string => `create role ${quoteIdentifier(name)} nologin;`

export interface RoleHolders {
  readonly role: Role
  /** Who has it by {@link grantRole}; members of these have it too. By name. */
  readonly holders: readonly string[]
}

export interface Rights {
  /** With whose rights the functions run. */
  readonly owner: { readonly name: string; readonly superuser: boolean }
  readonly roles: readonly RoleHolders[]
}

/** Who may do what in a schema; undefined where there is none, or one that knows no roles. */
export async function rightsIn(sql: Sql, schema: string): Promise<Rights | undefined> {
  const rows = await sql.query<{ marker: string; owner: string; superuser: boolean; holder: string | null }>(
    `select p.proname as marker, o.rolname as owner, o.rolsuper as superuser, pg_get_userbyid(acl.grantee) as holder
     from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
     join pg_catalog.pg_roles o on o.oid = p.proowner
     left join lateral aclexplode(p.proacl) acl on acl.grantee not in (0, p.proowner)
     where n.nspname = $1::text and p.proname like 'role\\_%' order by holder`,
    [schema],
  )
  const [first] = rows
  if (!first) return undefined
  const holdersOf = (role: Role) => rows.filter(({ marker }) => marker === markerOf(role)).flatMap(r => r.holder ?? [])
  return {
    owner: { name: first.owner, superuser: first.superuser },
    roles: roleNames.map(role => ({ role, holders: holdersOf(role) })),
  }
}
