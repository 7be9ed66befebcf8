-- The part of close that keeps failed jobs as dead letters, for the attempts that this call has closed, unless their queue
-- does without. The reason: terminal_error when the failure was said to be final; when the attempts ran out, the error's code
-- if the engine itself found the failure (callback_timeout, dispatcher_lost, wait_timeout ...), else max_attempts_exhausted.
create function millrace.bury(
  segments bigint[], ids bigint[], attempts int[], outcomes text[], details jsonb, verdicts "char"[], won bigint[]
) returns void language sql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
  insert into millrace.dead_letter as d (id, expires_at, reason, lane, enqueued_at, attempt, max_attempts, kind, payload, tags, metadata,
    progress, errors, unique_key, unique_states, rate_key)
  select j.id, now() + make_interval(secs => coalesce(l.retention, (select value from millrace.setting where name = 'dead_letter_retention_seconds'))),
    case when w.error ->> 'code' = 'wait_timeout' then 'wait_timeout'
      when w.outcome = 'fail' then 'terminal_error'
      when w.outcome = 'put_back' then 'put_back_limit'
      when w.error ->> 'code' = any (millrace.rescue_codes()) then w.error ->> 'code'
      else 'max_attempts_exhausted' end,
    j.lane, j.enqueued_at, j.attempt, j.max_attempts, j.kind, j.payload, j.tags, j.metadata,
    coalesce(a.progress, j.progress), millrace.with_error(j.errors, j.attempt, w.error), j.unique_key, j.unique_states, j.rate_key
  from (
    select segments[nth] as segment, ids[nth] as id, attempts[nth] as attempt, outcomes[nth] as outcome, details -> (nth - 1)::int -> 'error' as error
    from unnest(won) nth where verdicts[nth] = 'f'
  ) w
  join millrace.job_log j on j.slot = (w.segment % 8)::smallint and j.id = w.id and j.attempt = w.attempt
  left join millrace.attempt_state a on a.id = w.id and a.attempt = w.attempt
  cross join lateral (
    select q.dead_letters, q.dead_letter_retention_seconds as retention
    from millrace.lane n left join millrace.queue q on q.name = n.queue where n.id = j.lane limit 1
  ) l
  where coalesce(l.dead_letters, true)
  on conflict (id) do update set died_at = excluded.died_at, expires_at = excluded.expires_at, reason = excluded.reason, lane = excluded.lane,
    attempt = excluded.attempt, max_attempts = excluded.max_attempts, progress = excluded.progress, errors = excluded.errors
$$;
