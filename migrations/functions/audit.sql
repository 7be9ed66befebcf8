-- The log of what operators did: written by the verbs themselves, in their transactions, so that what is undone is not on it.

-- by: who says that it is them, an API key's name or a person; null: the login. The login itself is on the log in any case.
-- detail has ids, names and parameters, and never payloads, URLs or secrets.
create function millrace.audit(by text, action text, detail jsonb) returns void language sql as $$
  insert into millrace.audit_log (actor, action, detail)
  values (left(coalesce(nullif(by, ''), session_user::text), 200), audit.action, jsonb_strip_nulls(audit.detail))
$$;

-- Newest first: {items, cursor}. filter: {actor?, action? (`job.cancel`, or `job` for all of them), since?, until?}.
create function millrace.list_audit(filter jsonb default '{}', cursor text default null, max_entries int default null) returns jsonb
language plpgsql stable as $$
declare
  most int := least(coalesce(max_entries, 100), 1000);
  since timestamptz;
  until timestamptz;
begin
  perform millrace.check_keys(filter, array['actor', 'action', 'since', 'until']);
  if cursor !~ '^\d{1,18}$' or most < 1 then
    perform millrace.refuse_request('a cursor is what the page before answered, a limit at least 1');
  end if;
  begin
    since := coalesce((filter ->> 'since')::timestamptz, '-infinity');
    until := coalesce((filter ->> 'until')::timestamptz, 'infinity');
  exception when data_exception then
    perform millrace.refuse_request('filters since and until are times');
  end;
  return (
    select jsonb_build_object('items', coalesce(jsonb_agg(to_jsonb(a) order by a.id desc), '[]'),
      'cursor', case when count(*) = most then min(a.id)::text end)
    from (
      select * from millrace.audit_log x
      where x.id < coalesce(list_audit.cursor::bigint, 9223372036854775807) and x.at >= since and x.at < until
        and (filter ->> 'actor' is null or x.actor = filter ->> 'actor')
        and (filter ->> 'action' is null or x.action = filter ->> 'action' or starts_with(x.action, (filter ->> 'action') || '.'))
      order by x.id desc limit most
    ) a);
end $$;

-- From when on what operators did is on record.
create function millrace.audit_kept_from() returns timestamptz language sql stable as $$
  select now() - make_interval(secs => (select value from millrace.setting where name = 'audit_retention_seconds'))
$$;

create function millrace.expire_audit(max_rows int) returns void language sql as $$
  delete from millrace.audit_log where id in (
    select id from millrace.audit_log where at <= millrace.audit_kept_from() order by at limit 20 * max_rows for update skip locked)
$$;
