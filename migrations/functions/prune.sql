-- Empties the slot of the oldest segment whose retention is over, by TRUNCATE, whatever snapshots others hold. What is still
-- open in it is carried into the newest segment, finished jobs that are to be kept for longer go into the archive. Answers
-- {segment, carried, archived}, null when there is nothing to do. A transaction that has written to the slot, or has a
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
  moved int := 0;
  kept int;
begin
  perform millrace.require_leader(epoch) where epoch is not null;
  select * into old from millrace.prunable();
  if old.slot is null then
    return null;
  end if;
  logs := (select string_agg(format('millrace.%s_log_%s', log, old.slot), ', ') from unnest(array['job', 'claim', 'outcome', 'park', 'limit']) log);
  -- The long part, in nobody's way.
  select array_agg(id) as ids, array_agg(attempt) as attempts into open from millrace.stragglers(old.slot);
  keys := array(select u.key from millrace.unique_lock u where exists (select from millrace.job_log j where j.slot = old.slot and j.id = u.job));
  kept := millrace.keep(old.slot);

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
    select l.key from millrace.unique_lock l where l.key = any (keys) and not millrace.key_counts(l) for update skip locked);
  return jsonb_build_object('segment', old.number, 'carried', moved, 'archived', kept);
end $$;

-- What prune would empty: the oldest segment that was sealed for as long as finished jobs are kept, and in which nothing is
-- left to be claimed; else a slot without a segment into which somebody wrote late. A row of nulls: nothing.
create function millrace.prunable(out number bigint, out slot smallint) language sql stable as $$
  select number, slot from (
    select s.number, (s.number % 8)::smallint as slot
    from millrace.segment s join millrace.segment next on next.number = (select min(n.number) from millrace.segment n where n.number > s.number)
    where s.drained and next.opened_at <= now() - make_interval(secs => (select value from millrace.setting where name = 'retention_seconds'))
    union all
    select null, late::smallint from generate_series(0, 7) late
    where late not in (select s.number % 8 from millrace.segment s) and not millrace.slot_is_free(late::smallint)
  ) old (number, slot)
  order by number limit 1
$$;

-- Puts into the archive what ended in a slot and is to be kept for longer than its segment; only jobs among `ids`, if given.
create function millrace.keep(in_slot smallint, ids bigint[] default null) returns int language plpgsql as $$
#variable_conflict use_column
declare
  usual float8 := (select value from millrace.setting where name = 'retention_seconds');
  usual_failed float8 := (select value from millrace.setting where name = 'failed_retention_seconds');
  longest float8 := (select greatest(usual, usual_failed, max(retention_seconds), max(failed_retention_seconds)) from millrace.queue);
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
    where o.slot = in_slot and o.state in ('c', 'f', 'x') and o.finished_at > now() - make_interval(secs => longest)
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
