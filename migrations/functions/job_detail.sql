-- One job with how each of its attempts went, oldest first, and what should have followed it but could not; null when there
-- is none. Of attempts whose log is gone only the errors are known.
create function millrace.job_detail(id bigint) returns jsonb language plpgsql as $$
declare
  job jsonb;
begin
  perform millrace.hold_segments();
  job := millrace.job(id);
  return job || jsonb_build_object('attempts', millrace.attempts_of(id, job), 'follow_up_problems', millrace.follow_up_problems_of(id));
end $$;

create function millrace.attempts_of(id bigint, job jsonb) returns jsonb language sql stable
set jit = off set enable_seqscan = off as $$
  with log as (
    select j.attempt, coalesce(
        case o.state when 'r' then 'retryable' when 's' then 'released' else millrace.end_name(o.state) end,
        millrace.open_state(j.slot, j.lane, j.xid, j.id, j.attempt)) as state,
      coalesce(j.ready_at, j.enqueued_at) as available_at, c.at as claimed_at, c.runtime, o.finished_at, o.error
    from millrace.job_log j
    left join millrace.outcome_log o on o.slot = j.slot and o.id = j.id and o.attempt = j.attempt
    left join lateral (
      select k.at, k.runtime from millrace.claim_log k
      where k.slot = j.slot and k.span @> j.id and j.id = any (k.ids) and (j.id, j.attempt) in (select * from unnest(k.ids, k.attempts)) order by k.at limit 1
    ) c on true
    where j.id = attempts_of.id
  ), known as (
    select attempt, state, available_at, claimed_at, runtime, finished_at, coalesce(log.error, e.error) as error
    from log left join lateral (
      select x - '{attempt,at,retried}'::text[] as error from jsonb_array_elements(job -> 'errors') x where (x ->> 'attempt')::int = log.attempt limit 1
    ) e on true
    union all
    select (x ->> 'attempt')::int, case when nth = total and job ->> 'state' = 'failed' then 'failed' else 'retryable' end, null, null, null,
      (x ->> 'at')::timestamptz, x - '{attempt,at,retried}'::text[]
    from (
      select x, row_number() over () as nth, count(*) over () as total from jsonb_array_elements(job -> 'errors') x
    ) e
    where (x ->> 'attempt')::int not in (select attempt from log)
  )
  select coalesce(jsonb_agg(to_jsonb(k) order by k.attempt), '[]') from known k
$$;
