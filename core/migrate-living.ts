// SQL around the replacement of all functions and views of the schema: drop, check, and who may call them.

import { quoteIdentifier } from './sql.ts'

const namespace = (schema: string): string => `to_regnamespace('${quoteIdentifier(schema)}')`

/** Drops everything living, in whatever order its dependencies allow; what users built on it stops the migration. */
export const dropLiving = (schema: string): string => `
do $$
declare
  living record;
  dropped boolean;
  blocked text;
begin
  loop
    dropped := false;
    blocked := null;
    for living in
      select format('trigger %I on %s', t.tgname, t.tgrelid::regclass) as name
      from pg_trigger t join pg_proc p on p.oid = t.tgfoid
      where p.pronamespace = ${namespace(schema)} and t.tgparentid = 0 and not t.tgisinternal
        and t.tgrelid in (select oid from pg_class where relnamespace = ${namespace(schema)})
      union all
      select format('view %s', oid::regclass) from pg_class where relnamespace = ${namespace(schema)} and relkind = 'v'
      union all
      select format('routine %s', p.oid::regprocedure) from pg_proc p where p.pronamespace = ${namespace(schema)}
        and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
    loop
      begin
        execute 'drop ' || living.name;
        dropped := true;
      exception when dependent_objects_still_exist then
        get stacked diagnostics blocked = pg_exception_detail;
      end;
    end loop;
    exit when blocked is null;
    if not dropped then
      raise exception 'objects outside of Millrace depend on its functions'
        using errcode = 'dependent_objects_still_exist', detail = blocked;
    end if;
  end loop;
end $$;`

/** Bodies may use functions of later files, so they are checked once all are there. */
export const checkLiving = (schema: string): string => `
do $$
declare
  made record;
begin
  for made in
    select p.oid, l.lanvalidator::regproc as validator
    from pg_proc p join pg_language l on l.oid = p.prolang
    where p.pronamespace = ${namespace(schema)} and l.lanvalidator <> 0
  loop
    begin
      execute format('select %s(%s)', made.validator, made.oid);
    exception when others then
      raise exception '%: %', made.oid::regprocedure, sqlerrm using errcode = sqlstate;
    end;
  end loop;
end $$;`

/** Notes who may call and read what, where that was changed from the default; a setting needs no right to make tables. */
export const keepGrants = (schema: string): string => `
select set_config('millrace.grants', coalesce(jsonb_agg(to_jsonb(noted))::text, '[]'), true)
from (
  select object.kind, object.name, object.owner, acl.grantee, acl.privilege_type as privilege, acl.is_grantable as grantable
  from (
    select 'routine' as kind, oid::regprocedure::text as name, proname as called, proowner as owner, proacl as acl
    from pg_proc where pronamespace = ${namespace(schema)} and proacl is not null
    union all
    select 'table', oid::regclass::text, null, relowner, relacl
    from pg_class where relnamespace = ${namespace(schema)} and relkind = 'v' and relacl is not null
  ) as object, aclexplode(object.acl) as acl
  where not exists ( -- what comes with a role, which may have lost it
    select from pg_proc marker, aclexplode(marker.proacl) as holder
    where marker.pronamespace = ${namespace(schema)} and marker.proname like 'role\\_%' and marker.pronargs = 0
      and holder.grantee = acl.grantee and object.called = any (string_to_array(obj_description(marker.oid, 'pg_proc'), ' ')))
) as noted;`

/**
 * Gives those rights back to what still has the same name and parameters, and takes the default ones away there. Functions are
 * never given back to everybody.
 */
export const restoreGrants = `
do $$
declare
  noted record;
begin
  for noted in
    select distinct kind, name from jsonb_to_recordset(current_setting('millrace.grants')::jsonb) as g (kind text, name text)
    where case kind when 'routine' then to_regprocedure(name)::oid else to_regclass(name)::oid end is not null
  loop
    execute format('revoke all on %s %s from public', noted.kind, noted.name);
  end loop;
  for noted in
    select g.*, case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end as whom
    from jsonb_to_recordset(current_setting('millrace.grants')::jsonb)
      as g (kind text, name text, owner oid, grantee oid, privilege text, grantable boolean)
    where grantee <> owner and (grantee <> 0 or kind = 'table')
      and case kind when 'routine' then to_regprocedure(name)::oid else to_regclass(name)::oid end is not null
  loop
    execute format('grant %s on %s %s to %s', noted.privilege, noted.kind, noted.name, noted.whom)
      || case when noted.grantable then ' with grant option' else '' end;
  end loop;
end $$;`
