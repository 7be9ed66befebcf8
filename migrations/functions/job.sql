-- One job as users see it, or null: its state derived from the logs, its arguments, attempts, errors and result.
create function millrace.job(id bigint) returns jsonb language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  j record;
  o record;
begin
  select * into j from (
    select id, null::xid8 as xid, lane, enqueued_at, attempt, max_attempts, null::smallint as slot, kind, payload, run_at,
      tags, metadata, progress, errors, put_back, case state when 's' then 'scheduled' else 'retryable' end as state
    from millrace.deferred where id = job.id
    union all
    select id, xid, lane, enqueued_at, attempt, max_attempts, slot, kind, payload, coalesce(ready_at, enqueued_at),
      tags, metadata, progress, errors, put_back, null
    from millrace.job_log where id = job.id
  ) rows order by attempt desc limit 1;
  if j.id is null then
    return null;
  end if;
  select * into o from millrace.outcome_log where slot = j.slot and id = j.id and attempt = j.attempt;
  return jsonb_build_object(
    'id', j.id, 'kind', j.kind, 'queue', (select queue from millrace.lane l where l.id = j.lane limit 1),
    'priority', (select priority from millrace.lane l where l.id = j.lane limit 1),
    'state', coalesce(millrace.end_name(o.state), j.state, millrace.open_state(j.slot, j.lane, j.xid, j.id, j.attempt)),
    'attempt', j.attempt, 'max_attempts', j.max_attempts, 'args', j.payload,
    'tags', coalesce(to_jsonb(j.tags), '[]'), 'metadata', coalesce(j.metadata, '{}'),
    'progress', coalesce((select a.progress from millrace.attempt_state a where a.id = j.id and a.attempt = j.attempt), j.progress),
    'errors', case when o.error is null then coalesce(j.errors, '[]')
      else coalesce(j.errors, '[]') || (jsonb_build_object('attempt', j.attempt, 'at', o.finished_at) || o.error) end,
    'put_back', j.put_back, 'result', o.result,
    'enqueued_at', j.enqueued_at, 'run_at', j.run_at,
    'attempted_at', (select min(c.at) from millrace.claim_log c where c.slot = j.slot and c.span @> j.id
      and (j.id, j.attempt) in (select * from unnest(c.ids, c.attempts))),
    'finished_at', o.finished_at);
end $$;

-- The state of an attempt in the log that has no outcome: available until its lane's cursor has passed it, then running,
-- or waiting_external once a function has accepted it.
create function millrace.open_state(slot smallint, lane bigint, xid xid8, id bigint, attempt int) returns text language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  c record;
begin
  if exists (select from millrace.park_log p where p.slot = open_state.slot and p.span @> open_state.id
             and (open_state.id, open_state.attempt) in (select * from unnest(p.ids, p.attempts))) then
    return 'waiting_external';
  end if;
  select * into c from millrace.claim_log k where k.slot = open_state.slot and k.lane = open_state.lane order by k.n desc limit 1;
  if c.n is not null and (pg_visible_in_snapshot(xid, c.prev)
     or pg_visible_in_snapshot(xid, c.cur) and (c.last_id is null or (xid, id) <= (c.last_xid, c.last_id))) then
    return 'running';
  end if;
  return 'available';
end $$;
