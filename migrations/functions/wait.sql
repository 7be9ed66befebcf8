-- An open attempt waits for a named event: it stays open, parked until `timeout_seconds` from now, and nobody works on it. An
-- event that came before is applied at once. Answers
--   waiting: it waits now, or did already; for one event at a time, so that another name takes the place of the first;
--   applied: a kept event has closed the attempt (state: c, f, s, x as in outcome_log);
--   events: `rules` were given, and up to 20 kept events are there that they have not been tried on: [{id, payload}], oldest first.
--     The caller evaluates them and calls again, with `seen`: the last id it looked at, and `verdict`: {id, action (resume,
--     complete, fail), payload, error?} for the first that is not ignored, null when all are. Until the answer is another one;
--   closed: the attempt has ended (state);
--   unknown: there is no such attempt (any more).
--
-- on_timeout: fail, retry, resume. progress: as in heartbeat.
--
-- Whoever sends the event or waits for it takes the job's lock first (see hold_events), so that neither misses the other. The
-- end of an attempt does not take it, and may cross this: then the row is left behind, and minded by nobody.
create function millrace.wait(
  segment bigint, id bigint, attempt int, name text, timeout_seconds float8, on_timeout text default 'fail', rules jsonb default null,
  progress jsonb default null, seen bigint default null, verdict jsonb default null
) returns table (answer text, state "char", events jsonb) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set lock_timeout = '2s' as $$
#variable_conflict use_column
declare
  known record;
  event record;
begin
  perform millrace.check_event(name);
  if timeout_seconds is null or not timeout_seconds between 0.001 and 315360000 or on_timeout is null or on_timeout not in ('fail', 'retry', 'resume') then
    perform millrace.refuse_event('a wait times out after more than 0 seconds and at most ten years, and then fails, retries or resumes');
  end if;
  perform millrace.hold_events(id);
  segment := (millrace.follow(array[segment], array[id], array[attempt]))[1];
  rules := nullif(rules, 'null');
  verdict := nullif(verdict, 'null');
  select j.slot, j.progress, o.state, w.name = wait.name as waits into known
  from millrace.segment s
  join millrace.job_log j on j.slot = (s.number % 8)::smallint and j.id = wait.id and j.attempt = wait.attempt
  left join millrace.outcome_log o on o.slot = j.slot and o.id = j.id and o.attempt = j.attempt
  left join millrace.wait w on w.id = j.id and w.attempt = j.attempt
  where s.number = wait.segment;
  if known.slot is null then
    return query select 'unknown', null::"char", null::jsonb;
    return;
  elsif known.state is not null or known.waits then
    return query select case when known.state is null then 'waiting' else 'closed' end, known.state, null::jsonb;
    return;
  end if;

  select k.* into event from millrace.kept_event k
  where k.job = wait.id and k.name = wait.name and not millrace.ignored(k, wait.seen, wait.verdict) order by k.id limit 1;
  if event.action = 'event' and rules is not null and event.id is distinct from (verdict ->> 'id')::bigint then
    return query select 'events', null::"char", millrace.untried(event.job, event.name, event.id);
    return;
  elsif event.id is not null then
    if event.action = 'event' and rules is not null then
      event.action := verdict ->> 'action';
      event.payload := verdict -> 'payload';
    end if;
    select a.state, a.fresh into known from millrace.apply_event(segment, id, attempt, event.action, event.name, event.payload, event.at,
      progress, verdict ->> 'error') a;
    if not known.fresh then
      return query select 'closed', known.state, null::jsonb;
      return;
    end if;
  else
    perform millrace.begin_wait(segment, id, attempt, name, timeout_seconds, on_timeout, rules, millrace.merge_progress(known.progress, progress), progress);
  end if;
  delete from millrace.kept_event k
  where k.job = wait.id and k.name = wait.name and (k.id = event.id or millrace.ignored(k, wait.seen, wait.verdict));
  return query select case when event.id is null then 'waiting' else 'applied' end, case when event.id is not null then known.state end, null::jsonb;
end $$;

-- Whether the rules of a wait were tried on a kept event, and had no use for it.
create function millrace.ignored(event millrace.kept_event, seen bigint, verdict jsonb) returns boolean language sql immutable as $$
  select coalesce(event.action = 'event' and event.id <= seen and (verdict is null or event.id < (verdict ->> 'id')::bigint), false)
$$;

-- Kept events from that one on for the rules of a wait, but none beyond one that says itself what it does.
create function millrace.untried(job bigint, name text, first bigint) returns jsonb language sql stable as $$
  select jsonb_agg(jsonb_build_object('id', e.id, 'payload', coalesce(e.payload, 'null')) order by e.id)
  from (
    select k.id, k.payload from millrace.kept_event k
    where k.job = untried.job and k.name = untried.name and k.id >= first and k.action = 'event' and k.id < coalesce((
      select min(d.id) from millrace.kept_event d where d.job = untried.job and d.name = untried.name and d.id > first and d.action <> 'event'),
      9223372036854775807)
    order by k.id limit 20
  ) e
$$;

-- Puts the wait on record. A limit_at of infinity: heartbeats leave the deadline alone.
create function millrace.begin_wait(
  segment bigint, id bigint, attempt int, name text, timeout_seconds float8, on_timeout text, rules jsonb, progress jsonb, news jsonb
) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  until timestamptz := clock_timestamp() + make_interval(secs => timeout_seconds);
begin
  -- Locked in this order by close, too.
  insert into millrace.attempt_state as a (id, attempt, segment, deadline, limit_at, progress)
  values (begin_wait.id, begin_wait.attempt, begin_wait.segment, until, 'infinity', begin_wait.progress)
  on conflict on constraint attempt_state_pkey do update set deadline = excluded.deadline, limit_at = excluded.limit_at,
    progress = millrace.merge_progress(a.progress, news);
  insert into millrace.wait (id, attempt, segment, name, since, deadline, on_timeout, rules)
  values (begin_wait.id, begin_wait.attempt, begin_wait.segment, begin_wait.name, clock_timestamp(), until, begin_wait.on_timeout, begin_wait.rules)
  on conflict on constraint wait_pkey do update set attempt = excluded.attempt, segment = excluded.segment, name = excluded.name,
    since = excluded.since, deadline = excluded.deadline, on_timeout = excluded.on_timeout, rules = excluded.rules;
  if not exists (select from millrace.park_log p where p.slot = (begin_wait.segment % 8)::smallint and p.span @> begin_wait.id
    and (begin_wait.id, begin_wait.attempt) in (select * from unnest(p.ids, p.attempts))) then
    insert into millrace.park_log (deadline, slot, ids, attempts, span)
    values (until, begin_wait.segment % 8, array[begin_wait.id], array[begin_wait.attempt], int8range(begin_wait.id, begin_wait.id, '[]'));
  end if;
  if timeout_seconds < 60 then
    perform millrace.wake('wait'); -- or who sleeps would learn of the deadline only when it is over
  elsif exists (select from millrace.queue where max_running is not null) then
    perform millrace.wake(); -- there may be room again
  end if;
  perform millrace.announce(array[begin_wait.segment], array[begin_wait.id], array[begin_wait.attempt], '{1}', waiting => true);
end $$;
