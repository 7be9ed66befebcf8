-- Empties the slot of the oldest segment whose retention is over, by TRUNCATE, whatever snapshots others hold. What is still
-- open in it is carried into the newest segment, finished jobs that are to be kept for longer go into the archive. Answers
-- {segment, carried, archived}, or {segment, forwarded} as long as unclaimed jobs have to be brought forward before, null when
-- there is nothing to do. A transaction that has written to the slot, or has a
-- lock on it, is waited for only briefly (SQLSTATE 55P03, nothing changed).
--
-- No transaction can write to an emptied slot and be lost: one that still believes in the old segment writes rows which the
-- slot's next segment owns, or, as long as there is none, the next prune carries.
create function millrace.prune(epoch bigint default null) returns jsonb language plpgsql
set jit = off set lock_timeout = '100ms' as $$
#variable_conflict use_column
declare
  old record;
  mark xid8 := pg_snapshot_xmin(pg_current_snapshot());
  logs text;
  open record;
  keys text[];
  holders bigint[];
  events bigint[]; -- of these jobs
  last_event bigint;
  moved int := 0;
  kept int;
begin
  perform millrace.require_leader(epoch) where epoch is not null;
  select * into old from millrace.prunable();
  if old.slot is null then
    return null;
  end if;
  if not old.drained then
    moved := millrace.bring_forward(old.number);
    return case when moved > 0 then jsonb_build_object('segment', old.number, 'forwarded', moved) end;
  end if;
  if millrace.held_for_long(old.slot) then
    raise exception 'millrace: a transaction has held segment % for long', old.number using errcode = 'lock_not_available';
  end if;
  logs := (select string_agg(format('millrace.%s_log_%s', log, old.slot), ', ') from unnest(array['job', 'claim', 'outcome', 'park', 'limit']) log);
  -- The long part, in nobody's way.
  select array_agg(id) as ids, array_agg(attempt) as attempts into open from millrace.stragglers(old.slot);
  select array_agg(u.key), array_agg(u.job) into keys, holders
  from millrace.unique_lock u where exists (select from millrace.job_log j where j.slot = old.slot and j.id = u.job);
  kept := millrace.keep(old.slot);
  events := array(select distinct k.job from millrace.kept_event k where exists (select from millrace.job_log j where j.slot = old.slot and j.id = k.job));
  last_event := (select max(k.id) from millrace.kept_event k);

  perform pg_advisory_xact_lock(7261, 0);
  execute 'lock table ' || logs || ' in access exclusive mode';
  -- Since then new rows may have come, and open ones may have ended.
  select open.ids || array_agg(j.id), open.attempts || array_agg(j.attempt) into open.ids, open.attempts
  from (select distinct id from millrace.lane) l
  join millrace.job_log j on j.slot = old.slot and j.lane = l.id and j.xid >= mark
  where j.id <> all (coalesce(open.ids, '{}'));
  if open.ids is not null then
    moved := millrace.carry(old.slot, open.ids, open.attempts, array_fill(true, array[cardinality(open.ids)]));
    kept := kept + millrace.keep(old.slot, open.ids);
  end if;
  insert into millrace.limit_log (n, at, tokens, since, slot, queue, segments, ids, attempts)
  select l.n, l.at, l.tokens, l.since, millrace.current_slot(), l.queue, l.segments, l.ids, l.attempts
  from (select distinct on (queue) * from millrace.limit_log order by queue, n desc) l
  where l.slot = old.slot;
  execute 'truncate ' || logs;
  delete from millrace.segment where number = old.number;
  delete from millrace.withdrawn where segment = old.number;
  delete from millrace.carried where segment = old.number;
  delete from millrace.unique_lock u where u.key in (
    select l.key from millrace.unique_lock l
    -- Of that holder still: one that took the key over during this statement is not seen by it, as a job.
    where (l.key, l.job) in (select * from unnest(keys, holders)) and not millrace.key_counts(l) for update skip locked);
  perform millrace.forget_events(events || array(select k.job from millrace.kept_event k where k.id > coalesce(last_event, 0)));
  return jsonb_build_object('segment', old.number, 'carried', moved, 'archived', kept);
end $$;

-- Whether somebody has used the slot's logs, or may be about to, in a transaction of more than a second, as far as one may see.
-- To wait for such a one would make everybody wait who comes later.
create function millrace.held_for_long(which smallint) returns boolean language sql stable as $$
  select exists (
    select from pg_locks l join pg_stat_activity a on a.pid = l.pid
    where l.granted and l.pid <> pg_backend_pid() and a.xact_start < clock_timestamp() - interval '1 second'
      and l.database = (select oid from pg_database where datname = current_database())
      and (l.locktype = 'advisory' and l.classid = 7261 and l.objid = 0 and l.objsubid = 2
        or l.locktype = 'relation' and l.relation = any (array(
          select format('millrace.%s_log_%s', log, which)::regclass::oid from unnest(array['job', 'claim', 'outcome', 'park', 'limit']) log))))
$$;

-- What prune would empty: the oldest segment that was sealed for as long as finished jobs are kept, when nothing is left to be
-- claimed in it; else a slot without a segment into which somebody wrote late. A row of nulls: nothing.
create function millrace.prunable(out number bigint, out slot smallint, out drained boolean) language sql stable as $$
  select number, slot, drained from (
    select s.number, (s.number % 8)::smallint as slot, s.drained
    from millrace.segment s join millrace.segment next on next.number = (select min(n.number) from millrace.segment n where n.number > s.number)
    where next.opened_at <= now() - make_interval(secs => (select value from millrace.setting where name = 'retention_seconds'))
    union all
    select null, late::smallint, true from generate_series(0, 7) late
    where late not in (select s.number % 8 from millrace.segment s) and not millrace.slot_is_free(late::smallint)
  ) old (number, slot, drained)
  order by number limit 1
$$;

-- Moves unclaimed jobs of a segment that has outlived its retention, some thousands at a time, to the end of the newest one,
-- each as if a dispatcher had handed it back: a queue that is paused or far behind does not keep everybody's history. Answers
-- how many.
create function millrace.bring_forward(segment bigint, most int default 5000) returns int language plpgsql as $$
#variable_conflict use_column
declare
  porter bigint := millrace.runtime_start('prune');
  found record;
begin
  -- Claim passes over a lane that somebody else has, and the lane of a limited queue that is far behind hardly ever is free.
  perform pg_advisory_xact_lock(lane) from (
    select distinct l.id as lane from millrace.lane l where millrace.head(l.id, (bring_forward.segment % 8)::smallint) is not null order by lane
  ) filled;
  select array_agg(c.segment) as segments, array_agg(c.id) as ids, array_agg(c.attempt) as attempts into found
  from millrace.claim(porter, most, null, bring_forward.segment) c;
  if found.ids is not null then
    perform millrace.close(found.segments, found.ids, found.attempts, array_fill('release'::text, array[cardinality(found.ids)]));
  end if;
  delete from millrace.runtime r where r.id = porter;
  return coalesce(cardinality(found.ids), 0);
end $$;

-- Puts into the archive what ended in a slot and is to be kept for longer than its segment; only jobs among `ids`, if given.
create function millrace.keep(in_slot smallint, ids bigint[] default null) returns int language plpgsql as $$
#variable_conflict use_column
declare
  usual float8 := (select value from millrace.setting where name = 'retention_seconds');
  usual_failed float8 := (select value from millrace.setting where name = 'failed_retention_seconds');
  longest float8 := (select greatest(usual, max(retention_seconds)) from millrace.queue);
  longest_failed float8 := (select greatest(usual_failed, max(failed_retention_seconds)) from millrace.queue);
  kept int;
begin
  insert into millrace.archive (id, expires_at, job)
  select o.id, o.finished_at + make_interval(secs => o.retention), o.job
  from (
    select o.id, o.attempt, o.finished_at, millrace.job(o.id) as job,
      case o.state when 'f' then coalesce(q.failed_retention_seconds, usual_failed) else coalesce(q.retention_seconds, usual) end as retention
    from millrace.outcome_log o
    join millrace.job_log j on j.slot = o.slot and j.id = o.id and j.attempt = o.attempt
    join lateral (select l.queue from millrace.lane l where l.id = j.lane limit 1) l on true
    left join millrace.queue q on q.name = l.queue
    where o.slot = in_slot and o.state in ('c', 'f', 'x') and o.finished_at > now() - make_interval(secs => case o.state when 'f' then longest_failed else longest end)
      and (ids is null or o.id = any (ids))
      and o.finished_at + make_interval(secs => case o.state when 'f' then coalesce(q.failed_retention_seconds, usual_failed)
        else coalesce(q.retention_seconds, usual) end) > now()
      and not exists (select from millrace.dead_letter d where d.id = o.id)
  ) o
  where (o.job ->> 'attempt')::int = o.attempt
  on conflict (id) do update set expires_at = excluded.expires_at, job = excluded.job;
  get diagnostics kept = row_count;
  return kept;
end $$;
