-- Finds attempts that nobody will close any more and closes them as failed, to be retried while attempts are left (those that
-- waited for an event: as their wait says): parked ones past their deadline, ones whose heartbeats stopped or whose time limit is over (`parked`), and ones of a dispatcher
-- that died (`lost`), up to `max_jobs` of each. Answers how many it has closed, and how many could not be closed (`stuck`);
-- those it looks at again in a minute. When there is nothing to do it writes nothing, and takes no transaction id.
create function millrace.rescue(max_jobs int) returns table (parked int, lost int, stuck int) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set lock_timeout = '2s' as $$
#variable_conflict use_column
declare
  ended xid8 := pg_snapshot_xmin(pg_current_snapshot()); -- every transaction before this one has
  silent record;
  dead bigint[];
begin
  perform millrace.hold_segments();
  -- Left by a heartbeat, or a wait, that crossed the attempt's end.
  with gone as (
    delete from millrace.attempt_state a where a.deadline <= now()
      and (exists (select from millrace.outcome_log o where o.slot = (a.segment % 8)::smallint and o.id = a.id and o.attempt = a.attempt)
        or not exists (select from millrace.job_log j where j.slot = (a.segment % 8)::smallint and j.id = a.id and j.attempt = a.attempt))
    returning id, attempt
  )
  delete from millrace.wait w using gone g where w.id = g.id and w.attempt = g.attempt;
  dead := array(
    select id from millrace.runtime
    where lost_at < now()
    order by id
    for update skip locked); -- their last claims are committed and seen from here on, and they make no more

  -- Closed together: two closes in a transaction would lock their attempts in no common order.
  select array_agg(segment) as segments, array_agg(id) as ids, array_agg(attempt) as attempts, array_agg(code) as codes,
    count(*) filter (where code <> 'dispatcher_lost') as parked, count(*) filter (where code = 'dispatcher_lost') as lost
  into silent
  from (
    select distinct on (id, attempt) * from (
      (select * from millrace.overdue() limit max_jobs)
      union all (select * from millrace.orphans(dead) where dead <> '{}' limit max_jobs)
    ) found order by id, attempt
  ) open_attempts;
  -- Deadlines up to the mark are done with once every transaction from before the mark has ended: until then one of them
  -- may still commit a park of long ago.
  if silent.parked < max_jobs and exists (
    select from millrace.park_log p left join millrace.sweep w on w.name = 'parked'
    where p.deadline <= now() and p.deadline > coalesce(w.done_to, '-infinity') - interval '1 minute'
      and (w.name is null or w.mark_xid < ended and w.mark_at < now() - interval '30 seconds')
  ) then
    insert into millrace.sweep as w (name, done_to, mark_at, mark_xid) values ('parked', '-infinity', now(), pg_current_xact_id())
    on conflict (name) do update set done_to = w.mark_at, mark_at = excluded.mark_at, mark_xid = excluded.mark_xid
      where w.mark_xid < ended and w.mark_at < excluded.mark_at - interval '30 seconds';
  end if;
  if dead <> '{}' and silent.lost < max_jobs then
    delete from millrace.runtime where id = any (dead);
  end if;
  if silent.ids is null then
    return query select 0, 0, 0;
    return;
  end if;
  return query
  select count(*) filter (where c.became = 'closed' and silent.codes[c.nth] <> 'dispatcher_lost')::int,
    count(*) filter (where c.became = 'closed' and silent.codes[c.nth] = 'dispatcher_lost')::int,
    count(*) filter (where c.became = 'stuck')::int
  from millrace.close_silent(silent.segments, silent.ids, silent.attempts, silent.codes) c;
end $$;

-- With which code an attempt has failed that rescue found without its function's or dispatcher's word.
create function millrace.rescue_codes() returns text[] language sql immutable as $$
  select '{callback_timeout,dispatcher_lost,deadline_exceeded}'::text[]
$$;

-- Open attempts whose callback or heartbeat is overdue, with the code of what is wrong.
create function millrace.overdue() returns table (segment bigint, id bigint, attempt int, code text) language sql stable as $$
  select s.number, u.id, u.attempt,
    case when p.deadline >= p.at + make_interval(secs => k.time_limit_seconds) then 'deadline_exceeded' else 'callback_timeout' end
  from millrace.segment s
  join millrace.park_log p on p.slot = (s.number % 8)::smallint
  cross join lateral unnest(p.ids, p.attempts) as u(id, attempt)
  join millrace.job_log j on j.slot = p.slot and j.id = u.id and j.attempt = u.attempt -- else it cannot be closed
  left join millrace.kind k on k.name = j.kind
  where p.deadline <= now()
    and p.deadline > coalesce((select done_to from millrace.sweep where name = 'parked'), '-infinity') - interval '1 minute'
    and not exists (select from millrace.attempt_state a where a.id = u.id and a.attempt = u.attempt)
    and not exists (select from millrace.outcome_log o where o.slot = p.slot and o.id = u.id and o.attempt = u.attempt)
  union all
  select a.segment, a.id, a.attempt,
    case when w.id is not null then 'wait_timeout' when a.deadline >= a.limit_at then 'deadline_exceeded' else 'callback_timeout' end
  from millrace.attempt_state a left join millrace.wait w on w.id = a.id and w.attempt = a.attempt
  where a.deadline <= now()
$$;

-- Open attempts that these dispatchers claimed and that no function has accepted.
create function millrace.orphans(dead bigint[]) returns table (segment bigint, id bigint, attempt int, code text) language sql stable as $$
  select s.number, u.id, u.attempt, 'dispatcher_lost'
  from millrace.segment s
  join millrace.claim_log c on c.slot = (s.number % 8)::smallint and c.runtime = any (dead)
  cross join lateral unnest(c.ids, c.attempts) as u(id, attempt)
  join millrace.job_log j on j.slot = c.slot and j.id = u.id and j.attempt = u.attempt -- else it was moved elsewhere (see attach)
  where not exists (select from millrace.outcome_log o where o.slot = c.slot and o.id = u.id and o.attempt = u.attempt)
    and not exists (select from millrace.attempt_state a where a.id = u.id and a.attempt = u.attempt)
    and not exists (select from millrace.park_log p where p.slot = c.slot and p.span @> u.id
      and (u.id, u.attempt) in (select * from unnest(p.ids, p.attempts)))
$$;

-- Closes as failed, retries while attempts are left. Whatever is wrong with one attempt (a trigger or a constraint of the
-- user's, a webhook that cannot be built, a transaction that holds it) does not stop the others: a batch that cannot be
-- closed is tried in parts, down to single attempts. One that cannot be closed is given another minute, out of the way of
-- later batches. Answers what became of each: closed, stale (somebody else has closed it) or stuck.
create function millrace.close_silent(segments bigint[], ids bigint[], attempts int[], codes text[]) returns table (nth bigint, became text) language plpgsql as $$
declare
  size int := cardinality(ids);
  part int := greatest(1, ceil(size / 8.0));
  closed text[];
begin
  begin
    select array_agg(case when c.fresh then 'closed' else 'stale' end order by c.nth) into closed
    from (
      select array_agg(v.outcome order by v.nth) as outcomes, jsonb_agg(v.detail order by v.nth) as details from millrace.silence(ids, attempts, codes) v
    ) said cross join lateral millrace.close(segments, ids, attempts, said.outcomes, said.details) c;
    perform millrace.log_lost_deliveries(segments, ids, attempts);
  exception when others then
    if size = 1 then
      raise warning 'millrace: attempt % of job % cannot be closed: %', attempts[1], ids[1], sqlerrm using errcode = sqlstate;
      perform millrace.put_aside(segments[1], ids[1], attempts[1], codes[1]);
      closed := '{stuck}';
    end if;
  end;
  if closed is null then
    for done in 0 .. size - 1 by part loop
      return query select done + c.nth, c.became from millrace.close_silent(
        segments[done + 1:done + part], ids[done + 1:done + part], attempts[done + 1:done + part], codes[done + 1:done + part]) c;
    end loop;
  else
    return query select u.nth, u.became from unnest(closed) with ordinality u(became, nth);
  end if;
end $$;

-- How an attempt ends that nobody has closed: retried, unless the wait that timed out says otherwise.
create function millrace.silence(ids bigint[], attempts int[], codes text[]) returns table (nth bigint, outcome text, detail jsonb) language sql stable as $$
  select u.nth, coalesce(w.on_timeout, 'retry'),
    case when w.on_timeout = 'resume' then
      jsonb_build_object('resumed', jsonb_build_object('name', w.name, 'payload', null, 'at', now(), 'timed_out', true))
    else jsonb_build_object('error', jsonb_build_object('code', u.code, 'message', case u.code
      when 'dispatcher_lost' then 'the dispatcher of this attempt died'
      when 'deadline_exceeded' then 'the attempt took longer than its kind allows'
      when 'wait_timeout' then format('the event %s did not come in time', w.name)
      else 'no callback and no heartbeat before the deadline' end)) end
  from unnest(ids, attempts, codes) with ordinality u(id, attempt, code, nth)
  left join millrace.wait w on u.code = 'wait_timeout' and w.id = u.id and w.attempt = u.attempt
$$;

-- Gives an attempt that could not be closed another minute. One whose state somebody else holds stays where it is.
create function millrace.put_aside(segment bigint, id bigint, attempt int, code text) returns void language plpgsql as $$
begin
  insert into millrace.attempt_state as a (id, attempt, segment, deadline, limit_at)
  values (id, attempt, segment, now() + interval '1 minute', case code when 'deadline_exceeded' then '-infinity'::timestamptz end)
  on conflict on constraint attempt_state_pkey do update set deadline = excluded.deadline;
exception when lock_not_available then
end $$;
