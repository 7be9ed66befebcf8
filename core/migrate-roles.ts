// SQL that makes a schema's functions safe to call for others than its owner, and gives the roles' holders what is theirs.

import { functionsOf, markerOf, roleNames } from './roles.ts'
import { quoteIdentifier } from './sql.ts'

/** Where definer functions look for what is not qualified: in no place that a caller can write to. */
const SEARCH_PATH = 'pg_catalog, pg_temp'

const textArray = (values: readonly string[]): string => `array[${values.map(value => `'${value}'`).join(', ')}]`

const marker = (schema: string, role: (typeof roleNames)[number]): string => {
  const name = `${quoteIdentifier(schema)}.${markerOf(role)}()`
  return `create function ${name} returns boolean language sql immutable as 'select true';
comment on function ${name} is '${functionsOf(role).join(' ')}';`
}

const listed = textArray([...new Set(roleNames.flatMap(functionsOf))].sort())

/** After all functions are there: those of a role run with their owner's rights, and nobody may call any unless told. */
export const secureLiving = (schema: string): string => `
${roleNames.map(role => marker(schema, role)).join('\n')}
do $$
declare
  made record;
begin
  for made in
    select oid::regprocedure as name, proname = any (${listed}) as listed
    from pg_proc p where pronamespace = to_regnamespace('${quoteIdentifier(schema)}')
      and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
  loop
    if made.listed then
      execute format('alter routine %s security definer set search_path = ${SEARCH_PATH}', made.name);
    end if;
    execute format('revoke all on routine %s from public', made.name);
  end loop;
end $$;`

/** After the markers have their holders back. */
export const grantRoles = (schema: string): string => `
do $$
declare
  held record;
begin
  for held in
    select f.oid::regprocedure as name, acl.grantee::regrole as holder
    from pg_proc m cross join aclexplode(m.proacl) acl
    join pg_proc f on f.pronamespace = m.pronamespace
      and f.proname = any (string_to_array(obj_description(m.oid, 'pg_proc'), ' '))
    where m.pronamespace = to_regnamespace('${quoteIdentifier(schema)}')
      and m.proname = any (${textArray(roleNames.map(markerOf))}) and acl.grantee not in (0, m.proowner)
  loop
    execute format('grant execute on routine %s to %s', held.name, held.holder);
  end loop;
end $$;`
