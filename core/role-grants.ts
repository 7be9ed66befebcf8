// Giving a role's rights to a user of the database, and telling who has them: statements for the schema's owner.

import { functionsOf, markerOf, type Role, roleNames } from './roles.ts'
import { quoteIdentifier, type Sql } from './sql.ts'

/** Gives a user exactly what the role may do, and keeps it so over migrations. */
export function grantRole(schema: string, role: Role, user: string): string[] {
  const engine = quoteIdentifier(schema)
  const names = [markerOf(role), ...functionsOf(role)].map(name => `${engine}.${quoteIdentifier(name)}`)
  const to = `to ${quoteIdentifier(user)}`
  return [`grant usage on schema ${engine} ${to};`, `grant execute on function\n  ${names.join(',\n  ')}\n  ${to};`]
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

/** Who has a role by {@link grantRole}; those who are members of such a one have it too. */
export interface RoleHolder {
  readonly role: Role
  readonly holder: string
}

/** By role and name. */
export async function roleHolders(sql: Sql, schema: string): Promise<RoleHolder[]> {
  const rows = await sql.query<{ marker: string; holder: string }>(
    `select p.proname as marker, pg_get_userbyid(acl.grantee) as holder
     from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace, aclexplode(p.proacl) acl
     where n.nspname = $1 and acl.grantee not in (0, p.proowner) order by holder`,
    [schema],
  )
  return roleNames.flatMap(role =>
    rows.filter(({ marker }) => marker === markerOf(role)).map(({ holder }) => ({ role, holder })),
  )
}
