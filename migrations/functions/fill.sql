-- A template, filled in with what an event says. {"$path": "$.result.file"} stands for the first value that this JSONPath
-- finds in the data, or for its "default" beside it; everything else is as it stands. Where nothing is found, and there is no
-- default, the template cannot be filled in (SQLSTATE 23514, constraint missing_path).
create function millrace.fill(template jsonb, data jsonb) returns jsonb language plpgsql immutable strict as $$
declare
  found jsonb;
begin
  if jsonb_typeof(template) = 'array' then
    return (select coalesce(jsonb_agg(millrace.fill(e.item, fill.data) order by e.nth), '[]')
      from jsonb_array_elements(template) with ordinality e(item, nth));
  elsif jsonb_typeof(template) <> 'object' then
    return template;
  elsif not template ? '$path' then
    return (select coalesce(jsonb_object_agg(e.key, millrace.fill(e.value, fill.data)), '{}') from jsonb_each(template) e);
  end if;
  found := coalesce(jsonb_path_query_first(data, (template ->> '$path')::jsonpath), template -> 'default');
  if found is null then
    raise exception using errcode = 'check_violation', constraint = 'missing_path',
      message = format('millrace: the event has nothing at %s', template ->> '$path');
  end if;
  return found;
end $$;

create function millrace.has_path(template jsonb) returns boolean language sql immutable as $$
  select jsonb_path_exists(template, 'strict $.** ? (exists (@."$path"))')
$$;

-- What is wrong with a template; null: nothing.
create function millrace.template_problem(template jsonb) returns text language sql stable as $$
  select case
    when jsonb_typeof(r.ref -> '$path') <> 'string' or r.ref - '{$path,default}'::text[] <> '{}'
      then 'beside a $path, which is text, there is only a default'
    else millrace.path_problem(r.ref ->> '$path')
  end as problem
  from jsonb_path_query(template, 'strict $.** ? (exists (@."$path"))') r(ref)
  order by problem limit 1 -- nulls last
$$;

create function millrace.path_problem(path text) returns text language plpgsql immutable as $$
begin
  perform path::jsonpath;
  return null;
exception when others then
  return format('%s is no JSONPath: %s', quote_literal(left(path, 100)), sqlerrm);
end $$;
