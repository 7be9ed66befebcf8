-- Makes the declared kinds and subscriptions of one source (an application) the ones on record, in one transaction, and
-- keeps the manifest as a new version when anything changed. Other sources' declarations are left alone; declaring a name
-- that another source owns is refused (SQLSTATE 23505, constraint invalid_declaration).
create function millrace.sync_manifest(manifest jsonb, source text default 'default') returns jsonb language plpgsql as $$
#variable_conflict use_column
declare
  digest text := md5(manifest::text);
  newest record;
  clash text;
  removed text[];
begin
  lock table millrace.manifest in share row exclusive mode;
  select version, hash into newest from millrace.manifest m where m.source = sync_manifest.source order by version desc limit 1;
  if newest.hash = digest then
    return jsonb_build_object('version', newest.version, 'changed', false, 'removed', '[]'::jsonb);
  end if;
  select string_agg(format('%s (declared by %s)', d.name, coalesce(k.source, s.source)), ', ') into clash
  from (
    select e ->> 'name' as name, 'kind' as type from jsonb_array_elements(manifest -> 'kinds') e
    union all select e ->> 'name', 'subscription' from jsonb_array_elements(manifest -> 'subscriptions') e
  ) d
  left join millrace.kind k on d.type = 'kind' and k.name = d.name and k.source <> sync_manifest.source
  left join millrace.subscription s on d.type = 'subscription' and s.name = d.name and s.source <> sync_manifest.source
  where coalesce(k.name, s.name) is not null;
  if clash is not null then
    raise exception using errcode = 'unique_violation', constraint = 'invalid_declaration',
      message = 'millrace: declared twice, by different sources: ' || clash, hint = 'Rename it, or declare it in one application only.';
  end if;
  with gone as (
    delete from millrace.kind k where k.source = sync_manifest.source
      and not exists (select from jsonb_array_elements(manifest -> 'kinds') e where e ->> 'name' = k.name) returning k.name
  ), gone_too as (
    delete from millrace.subscription s where s.source = sync_manifest.source
      and not exists (select from jsonb_array_elements(manifest -> 'subscriptions') e where e ->> 'name' = s.name) returning s.name
  )
  select array_agg(name order by name) into removed from (select name from gone union all select name from gone_too) names;
  insert into millrace.kind (name, queue, priority, max_attempts, time_limit_seconds, retry, target, source)
  select name, queue, priority, max_attempts, time_limit_seconds, retry, target, sync_manifest.source
  from jsonb_to_recordset(manifest -> 'kinds') as k(name text, queue text, priority smallint, max_attempts int, time_limit_seconds float8, retry jsonb, target jsonb)
  on conflict (name) do update set queue = excluded.queue, priority = excluded.priority, max_attempts = excluded.max_attempts,
    time_limit_seconds = excluded.time_limit_seconds, retry = excluded.retry, target = excluded.target;
  insert into millrace.subscription (name, kinds, events, url, secret, source)
  select name, kinds, events, url, secret, sync_manifest.source
  from jsonb_to_recordset(manifest -> 'subscriptions') as s(name text, kinds text[], events text[], url text, secret text)
  on conflict (name) do update set kinds = excluded.kinds, events = excluded.events, url = excluded.url, secret = excluded.secret;
  insert into millrace.manifest (source, hash, body) values (sync_manifest.source, digest, manifest) returning version into newest.version;
  perform pg_notify('millrace_wake', 'manifest');
  return jsonb_build_object('version', newest.version, 'changed', true, 'removed', coalesce(to_jsonb(removed), '[]'));
end $$;
