-- Opens the next segment when the newest one is old or large enough. Answers its number; null when there was no reason, or no
-- room: one slot of the eight stays free for attach.
create function millrace.rotate(epoch bigint default null) returns bigint language plpgsql as $$
declare
  setting jsonb := (select jsonb_object_agg(name, value) from millrace.setting);
  newest record;
begin
  perform millrace.require_leader(epoch) where epoch is not null;
  lock table millrace.segment in share row exclusive mode;
  select s.*, (s.number % 8)::int as slot into newest from millrace.segment s order by s.number desc limit 1;
  if (select count(*) from millrace.segment) > 6 or not millrace.slot_is_free(((newest.number + 1) % 8)::smallint)
    or not exists (select from millrace.job_log where slot = newest.slot)
    or newest.opened_at > now() - make_interval(secs => (setting ->> 'rotate_seconds')::float8)
      and millrace.slot_bytes(newest.slot) < (setting ->> 'rotate_bytes')::bigint
  then
    return null;
  end if;
  insert into millrace.segment (number) values (newest.number + 1);
  return newest.number + 1;
end $$;

-- No segment lives there, and nothing is left of an earlier one.
create function millrace.slot_is_free(which smallint) returns boolean language sql stable as $$
  select not exists (select from millrace.segment where number % 8 = which)
    and not exists (select from millrace.job_log where slot = which)
$$;

-- The size of a slot's logs with their indexes, in bytes.
create function millrace.slot_bytes(which int) returns bigint language sql stable as $$
  select sum(pg_total_relation_size(format('millrace.%s_log_%s', log, which)::regclass))::bigint
  from unnest(array['job', 'claim', 'outcome', 'park', 'limit']) log
$$;
