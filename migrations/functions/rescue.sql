-- Finds attempts that nobody will close any more and closes them as failed, to be retried while attempts are left:
-- parked ones past their deadline, ones whose heartbeats stopped, and ones of a dispatcher that died. Answers how many.

create function millrace.rescue_parked(max_jobs int) returns int language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  silent record;
  ended xid8 := pg_snapshot_xmin(pg_current_snapshot()); -- every transaction before this one has
begin
  perform millrace.hold_segments();
  -- Left by a heartbeat that crossed the attempt's end.
  delete from millrace.attempt_state a where a.deadline <= now()
    and (exists (select from millrace.outcome_log o where o.slot = (a.segment % 8)::smallint and o.id = a.id and o.attempt = a.attempt)
      or not exists (select from millrace.segment s where s.number = a.segment));
  select array_agg(segment) as segments, array_agg(id) as ids, array_agg(attempt) as attempts into silent from (
    select s.number as segment, u.id, u.attempt
    from millrace.segment s
    join millrace.park_log p on p.slot = (s.number % 8)::smallint
    cross join lateral unnest(p.ids, p.attempts) as u(id, attempt)
    where p.deadline <= now()
      and p.deadline > coalesce((select done_to from millrace.sweep where name = 'parked'), '-infinity') - interval '1 minute'
      and not exists (select from millrace.attempt_state a where a.id = u.id and a.attempt = u.attempt)
      and not exists (select from millrace.outcome_log o where o.slot = p.slot and o.id = u.id and o.attempt = u.attempt)
      and exists (select from millrace.job_log j where j.slot = p.slot and j.id = u.id and j.attempt = u.attempt) -- else it cannot be closed
    union all
    select a.segment, a.id, a.attempt from millrace.attempt_state a where a.deadline <= now()
    limit max_jobs
  ) open_attempts;
  -- Deadlines up to the mark are done with once every transaction from before the mark has ended: until then one of them
  -- may still commit a park of long ago.
  if coalesce(cardinality(silent.ids), 0) < max_jobs then
    insert into millrace.sweep as w (name, done_to, mark_at, mark_xid) values ('parked', '-infinity', now(), pg_current_xact_id())
    on conflict (name) do update set done_to = w.mark_at, mark_at = excluded.mark_at, mark_xid = excluded.mark_xid
      where w.mark_xid < ended and w.mark_at < excluded.mark_at - interval '30 seconds';
  end if;
  return millrace.close_silent(silent.segments, silent.ids, silent.attempts, 'callback_timeout', 'no callback and no heartbeat before the deadline');
end $$;

create function millrace.rescue_lost(max_jobs int) returns int language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  lost bigint[] := array(
    select id from millrace.runtime
    where lost_at < now()
    order by id
    for update skip locked); -- their last claims are committed and seen from here on, and they make no more
  silent record;
begin
  if lost = '{}' then
    return 0;
  end if;
  perform millrace.hold_segments();
  select array_agg(segment) as segments, array_agg(id) as ids, array_agg(attempt) as attempts into silent from (
    select s.number as segment, u.id, u.attempt
    from millrace.segment s
    join millrace.claim_log c on c.slot = (s.number % 8)::smallint and c.runtime = any (lost)
    cross join lateral unnest(c.ids, c.attempts) as u(id, attempt)
    where not exists (select from millrace.outcome_log o where o.slot = c.slot and o.id = u.id and o.attempt = u.attempt)
      and not exists (select from millrace.attempt_state a where a.id = u.id and a.attempt = u.attempt)
      and not exists (select from millrace.park_log p where p.slot = c.slot and p.span @> u.id
        and (u.id, u.attempt) in (select * from unnest(p.ids, p.attempts)))
    limit max_jobs
  ) open_attempts;
  if coalesce(cardinality(silent.ids), 0) < max_jobs then
    delete from millrace.runtime where id = any (lost);
  end if;
  -- One close for all of them: two in a transaction would lock their attempts in no common order.
  return millrace.close_silent(silent.segments, silent.ids, silent.attempts, 'dispatcher_lost', 'the dispatcher of this attempt died');
end $$;

-- The common end of both: closes as failed, retries while attempts are left, answers how many this call has closed. None
-- at all come as null.
create function millrace.close_silent(segments bigint[], ids bigint[], attempts int[], code text, message text) returns int language sql as $$
  select count(*) filter (where fresh)::int from millrace.close(coalesce(segments, '{}'), coalesce(ids, '{}'), coalesce(attempts, '{}'),
    array_fill('retry'::text, array[coalesce(cardinality(ids), 0)]),
    (select jsonb_agg(jsonb_build_object('error', jsonb_build_object('code', code, 'message', message))) from unnest(ids)))
$$;
