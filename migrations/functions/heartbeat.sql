-- Extends the lease of open attempts to `timeout_seconds` from now and merges what they report of their progress:
-- percent and message replace, metadata is merged key by key. Answers in the order given: the state of a closed attempt's
-- outcome (c, f, r, s, x), p for an open one, null where there is no such attempt (any more); and, where the kind's time
-- limit leaves less than was asked for, how many seconds that is.
--
-- The limit counts from when the attempt was put on record as accepted or, should that have been lost, from its first
-- heartbeat: not from the claim, or a job that waits for its turn at a busy target would have less of it.
--
-- An attempt that waits for an event is open, and left as it is.
--
-- As close does, it waits for a transaction that holds an attempt, but not for longer than two seconds (SQLSTATE 55P03).
create function millrace.heartbeat(segments bigint[], ids bigint[], attempts int[], timeout_seconds float8[], progress jsonb default null)
returns table (nth bigint, state "char", granted_seconds float8) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set lock_timeout = '2s' as $$
#variable_conflict use_column
begin
  perform millrace.hold_segments();
  if exists (select from millrace.carried) then
    segments := millrace.follow(segments, ids, attempts);
  end if;
  return query
  with beat as (
    select u.nth, u.segment, u.id, u.attempt, now() + make_interval(secs => u.timeout) as asked, limits.ends_at,
      nullif(heartbeat.progress -> (u.nth - 1)::int, 'null') as progress, j.progress as known, coalesce(o.state, case when j.id is not null then 'p'::"char" end) as state
    from unnest(segments, ids, attempts, timeout_seconds) with ordinality as u(segment, id, attempt, timeout, nth)
    left join millrace.segment s on s.number = u.segment
    left join lateral (select j.id, j.progress, j.kind from millrace.job_log j
      where j.slot = (s.number % 8)::smallint and j.id = u.id and j.attempt = u.attempt) j on true
    left join lateral (select o.state from millrace.outcome_log o
      where o.slot = (s.number % 8)::smallint and o.id = u.id and o.attempt = u.attempt) o on true
    left join lateral (
      select coalesce(
        (select a.limit_at from millrace.attempt_state a where a.id = u.id and a.attempt = u.attempt),
        make_interval(secs => k.time_limit_seconds) + coalesce((select min(p.at) from millrace.park_log p
          where p.slot = (s.number % 8)::smallint and p.span @> u.id and (u.id, u.attempt) in (select * from unnest(p.ids, p.attempts))), now())) as ends_at
      from millrace.kind k where k.name = j.kind and k.time_limit_seconds is not null
    ) limits on true
  ), kept as (
    insert into millrace.attempt_state as a (id, attempt, segment, deadline, limit_at, progress)
    select distinct on (id, attempt) id, attempt, segment, least(asked, ends_at), ends_at, millrace.merge_progress(known, progress)
    from beat where state = 'p' order by id, attempt, nth desc
    on conflict (id, attempt) do update set deadline = least(excluded.deadline, a.limit_at), limit_at = coalesce(a.limit_at, excluded.limit_at),
      progress = millrace.merge_progress(a.progress, excluded.progress)
      where a.limit_at is distinct from 'infinity' -- it waits for an event, see wait.sql
  )
  select b.nth, b.state::"char",
    case when b.state = 'p' and b.ends_at < b.asked then greatest(0, extract(epoch from b.ends_at - now()))::float8 end
  from beat b order by b.nth;
end $$;

create function millrace.merge_progress(known jsonb, news jsonb) returns jsonb language sql immutable as $$
  select case when news is null then known else
    coalesce(known, '{}') || news || case when known ? 'metadata' or news ? 'metadata' then
      jsonb_build_object('metadata', coalesce(known -> 'metadata', '{}') || coalesce(news -> 'metadata', '{}')) else '{}' end
  end
$$;
