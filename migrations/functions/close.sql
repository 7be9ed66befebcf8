-- Closes attempts, each fenced on its own: whoever inserts an attempt's outcome first has closed it, everybody later
-- changes nothing and is told what is on record. The same transaction puts the retry, and what else is to follow
-- (see announce.sql), in place.
--
-- outcomes: completed | retry (failed; again while attempts are left) | fail (failed for good) | put_back (later, costs no
-- attempt) | snooze (the same, and is nothing to be told of) | release (at once, costs no attempt) | resume (the same, by an
-- event that the next attempt is told of) | cancel. details: null, or a JSON array with null or {result?, error?: {code,
-- message}, delay_ms?, resumed?: {name, payload, at, timed_out?}, progress?} for each attempt.
--
-- Answers a row for each attempt except those that this call has closed as completed: nth counts from 1, state is c, f,
-- r, s, x as in outcome_log or null for an attempt that does not exist (any more), fresh tells whether this call closed it.
-- One that it has completed is in the answer nevertheless if its result was too large to be kept.
--
-- An attempt that somebody else is about to close makes this call wait, but not for longer than two seconds: it may be a
-- cancel in a transaction that takes its time (SQLSTATE 55P03, nothing changed).
create function millrace.close(segments bigint[], ids bigint[], attempts int[], outcomes text[], details jsonb default null)
returns table (nth bigint, state "char", fresh boolean, result text) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set lock_timeout = '2s' as $$
#variable_conflict use_column
declare
  plain boolean := 'completed' = all (outcomes);
  verdicts "char"[];
  won bigint[]; -- which of the attempts this call has closed
begin
  perform millrace.hold_segments();
  if exists (select from millrace.carried) then
    segments := millrace.follow(segments, ids, attempts);
  end if;
  if plain then
    verdicts := array_fill('c'::"char", array[cardinality(ids)]);
  else
    verdicts := millrace.verdicts(segments, ids, attempts, outcomes, details);
    if exists (select from millrace.unique_lock) then
      verdicts := millrace.superseded(segments, ids, attempts, verdicts);
    end if;
  end if;
  won := millrace.fence(segments, ids, attempts, verdicts, details);
  if won is not null and not plain then
    perform millrace.requeue(segments, ids, attempts, outcomes, details, verdicts, won);
    if 'f' = any (verdicts) then
      perform millrace.bury(segments, ids, attempts, outcomes, details, verdicts, won);
    end if;
  end if;
  if won is not null and exists (select from millrace.queue where max_running is not null) then
    perform millrace.wake(); -- there may be room again
  end if;
  if won is not null and (exists (select from millrace.endpoint) or exists (select from millrace.follow_up)) then
    perform millrace.announce(segments, ids, attempts, won);
  end if;
  if won is not null and exists (select from millrace.attempt_state) then
    delete from millrace.attempt_state a using (
      select l.id, l.attempt from unnest(won) w join millrace.attempt_state l on l.id = ids[w] and l.attempt = attempts[w]
      order by l.id, l.attempt for update of l -- the order in which heartbeat locks them
    ) locked
    where a.id = locked.id and a.attempt = locked.attempt;
  end if;
  if won is not null and exists (select from millrace.wait) then
    delete from millrace.wait x using unnest(won) w where x.id = ids[w] and x.attempt = attempts[w];
  end if;
  if plain and cardinality(won) = cardinality(ids)
    and (details is null or octet_length(details::text) <= (select value from millrace.setting where name = 'result_limit_bytes')) then
    return;
  end if;

  return query
  select u.nth, o.state, coalesce(u.nth = any (won), false), o.result::text
  from unnest(segments, ids, attempts) with ordinality as u(segment, id, attempt, nth)
  left join millrace.segment s on s.number = u.segment
  left join lateral (
    select o.state, o.result, o.error from millrace.outcome_log o
    where o.slot = (s.number % 8)::smallint and o.id = u.id and o.attempt = u.attempt
  ) o on true
  where not coalesce(o.state = 'c' and o.error is null and u.nth = any (won), false);
end $$;

-- The fence: records the attempts' ends, and answers which of them (counted from 1) this call has closed; null for none.
--
-- An insert that minds conflicts costs half as much again as one that does not, in time and in WAL, and hardly any attempt
-- is closed twice. So a batch of one segment, of whose jobs no end is on record yet, goes in plainly; should somebody be
-- quicker with one of them all the same, that is undone and done carefully.
create function millrace.fence(segments bigint[], ids bigint[], attempts int[], verdicts "char"[], details jsonb) returns bigint[] language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  only_slot smallint := (segments[1] % 8)::smallint;
  closed record;
begin
  if segments[1] = all (segments) and array_position(verdicts, null) is null
    and exists (select from millrace.segment where number = segments[1])
    and not exists (select from millrace.outcome_log o where o.slot = only_slot and o.id = any (fence.ids)) then
    begin
      insert into millrace.outcome_log (id, attempt, slot, state, result, error)
      select * from millrace.ends(segments, ids, attempts, verdicts, details);
      return array(select generate_series(1, cardinality(ids)));
    exception when unique_violation then
    end;
  end if;
  with fenced as (
    insert into millrace.outcome_log (id, attempt, slot, state, result, error)
    select * from millrace.ends(segments, ids, attempts, verdicts, details)
    on conflict do nothing
    returning id, attempt
  )
  select array_agg(id) as ids, array_agg(attempt) as attempts into closed from fenced;
  return (
    select array_agg(nth) from (
      select min(u.nth) as nth from unnest(closed.ids, closed.attempts) c(id, attempt)
      join unnest(segments, ids, attempts, verdicts) with ordinality u(segment, id, attempt, verdict, nth) using (id, attempt)
      where u.verdict is not null and u.segment in (select number from millrace.segment) group by id, attempt) first);
end $$;

-- The rows of outcome_log that these verdicts ask for, for attempts that exist: in one order for all, so that closers
-- never wait for each other in a circle. A result that is too large gives way to an error that says so.
create function millrace.ends(segments bigint[], ids bigint[], attempts int[], verdicts "char"[], details jsonb)
returns table (id bigint, attempt int, slot smallint, state "char", result jsonb, error jsonb) language sql stable as $$
  select u.id, u.attempt, (u.segment % 8)::smallint, u.verdict, case when not d.too_large then d.result end,
    case when d.too_large then '{"code": "result_too_large", "message": "the result is too large to be kept"}'
      else millrace.trimmed_error(details -> (u.nth - 1)::int -> 'error') end
  from unnest(segments, ids, attempts, verdicts) with ordinality as u(segment, id, attempt, verdict, nth)
  cross join lateral (
    select r.result, coalesce(octet_length(r.result::text) > (select value from millrace.setting where name = 'result_limit_bytes'), false) as too_large
    from (select details -> (u.nth - 1)::int -> 'result' as result) r
  ) d
  where u.verdict is not null and u.segment in (select number from millrace.segment)
  order by u.id, u.attempt, u.nth
$$;

-- The part of close that decides how each attempt ends: c, f, r, s, x as in outcome_log, null for one that does not exist.
create function millrace.verdicts(segments bigint[], ids bigint[], attempts int[], outcomes text[], details jsonb) returns "char"[] language sql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
  select array_agg((case
      when u.outcome = 'completed' then 'c'
      when j.id is null or u.outcome not in ('retry', 'fail', 'put_back', 'snooze', 'release', 'resume', 'cancel') then null
      when u.outcome in ('snooze', 'release', 'resume') then 's'
      when u.outcome = 'cancel' then 'x'
      when u.outcome = 'put_back' and coalesce((j.put_back ->> 'since')::timestamptz, now())
        > now() - make_interval(secs => (select value from millrace.setting where name = 'put_back_limit_seconds')) then 's'
      when u.outcome = 'fail' or j.attempt >= j.max_attempts then 'f'
      else 'r'
    end)::"char" order by u.nth)
  from unnest(segments, ids, attempts, outcomes) with ordinality as u(segment, id, attempt, outcome, nth)
  left join millrace.job_log j on j.slot = (u.segment % 8)::smallint and j.id = u.id and j.attempt = u.attempt
$$;

-- The part of close that puts a job's next attempt in place, for the attempts that this call has closed.
create function millrace.requeue(
  segments bigint[], ids bigint[], attempts int[], outcomes text[], details jsonb, verdicts "char"[], won bigint[]
) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
begin
  with again as (
    select j.id, j.lane, j.enqueued_at, j.attempt + 1 as attempt, j.kind, j.payload, j.tags, j.metadata,
      millrace.progress_after(coalesce(a.progress, j.progress), v.detail) as progress,
      case v.state when 's' then j.max_attempts + 1 else j.max_attempts end as max_attempts,
      case v.state when 's' then j.errors else millrace.with_error(j.errors, j.attempt, v.detail -> 'error') end as errors,
      case when v.outcome = 'release' then j.put_back when v.state = 's' and v.outcome not in ('snooze', 'resume') then
        jsonb_build_object('since', coalesce(j.put_back -> 'since', to_jsonb(now()))) || coalesce(v.detail -> 'error', '{}') end as put_back,
      case when v.outcome = 'resume' then case when millrace.paced(j.lane, j.rate_key) then now() end when v.outcome <> 'release' then
        now() + coalesce(make_interval(secs => (v.detail ->> 'delay_ms')::float8 / 1000), millrace.backoff(coalesce(k.retry, p.policy), millrace.failures(j.errors) + 1)) end as run_at,
      v.state, j.unique_key, j.unique_states, j.rate_key
    from (
      select segments[w.nth] as segment, ids[w.nth] as id, attempts[w.nth] as attempt, outcomes[w.nth] as outcome,
        details -> (w.nth - 1)::int as detail, verdicts[w.nth] as state
      from unnest(won) as w(nth) where verdicts[w.nth] in ('r', 's')
    ) v
    join millrace.job_log j on j.slot = (v.segment % 8)::smallint and j.id = v.id and j.attempt = v.attempt
    left join millrace.kind k on k.name = j.kind
    left join lateral (select millrace.webhook_retries() || jsonb_build_object('cap_seconds', value) as policy from millrace.setting
      where name = 'webhook_backoff_cap_seconds' and j.kind = 'millrace' || '.webhook') p on true
    left join millrace.attempt_state a on a.id = v.id and a.attempt = v.attempt
  ), later as (
    insert into millrace.deferred (id, run_at, lane, enqueued_at, attempt, max_attempts, state, kind, payload, tags, metadata, progress, errors, put_back, unique_key, unique_states, rate_key)
    select id, run_at, lane, enqueued_at, attempt, max_attempts, state, kind, payload, tags, metadata, progress, errors, put_back, unique_key, unique_states, rate_key
    from again where run_at is not null
  )
  insert into millrace.job_log (id, lane, enqueued_at, attempt, max_attempts, slot, kind, payload, ready_at, tags, metadata, progress, errors, put_back, unique_key, unique_states, rate_key)
  select id, lane, enqueued_at, attempt, max_attempts, (select millrace.current_slot()), kind, payload, now(), tags, metadata, progress, errors, put_back, unique_key, unique_states, rate_key
  from again where run_at is null;
  perform millrace.wake();
end $$;

-- What the next attempt is told of the progress: with the event that resumes the job, and a checkpoint that came with the end.
create function millrace.progress_after(progress jsonb, detail jsonb) returns jsonb language sql immutable as $$
  select case when detail is null or not detail ?| '{progress,resumed}' then progress else
    coalesce(known, '{}') || case when detail ? 'resumed' then jsonb_build_object('events', coalesce(known -> 'events', '{}')
      || jsonb_build_object(detail -> 'resumed' ->> 'name', (detail -> 'resumed') - 'name')) else '{}' end end
  from (select millrace.merge_progress(progress, detail -> 'progress') as known) p
$$;

-- Whether a job goes by way of deferred, where promote minds its rate_key.
create function millrace.paced(lane bigint, rate_key text) returns boolean language sql stable as $$
  select rate_key is not null and exists (
    select from millrace.lane l join millrace.queue q on q.name = l.queue where l.id = paced.lane and q.key_rate is not null)
$$;

-- Appends to a job's error history, of which the last 50 are kept.
create function millrace.with_error(errors jsonb, attempt int, error jsonb, at timestamptz default now()) returns jsonb language sql stable as $$
  select jsonb_path_query_array(
    coalesce(errors, '[]') || (jsonb_build_object('attempt', attempt, 'at', at) || coalesce(millrace.trimmed_error(error), '{}')),
    '$[last - 49 to last]')
$$;

-- How many failures count for the next wait: those since an operator last retried the job, which marks the last one before.
create function millrace.failures(errors jsonb) returns int language sql stable as $$
  select count(*) filter (where e.n > e.forgiven)::int from (
    select n, coalesce(max(n) filter (where v ? 'retried') over (), 0) as forgiven
    from jsonb_array_elements(errors) with ordinality e(v, n)) e
$$;

create function millrace.forgiven(errors jsonb) returns jsonb language sql immutable as $$
  select case when jsonb_array_length(errors) > 0 then jsonb_set(errors, '{-1,retried}', 'true') else errors end
$$;

-- An error as it is kept: a code and at most 2000 characters of message.
create function millrace.trimmed_error(error jsonb) returns jsonb language sql stable as $$
  select jsonb_set(error, '{message}', to_jsonb(left(coalesce(error ->> 'message', ''), 2000)))
$$;
