-- One job as users see it, or null: its state derived from the logs, its arguments, attempts, errors and result.
--
-- Who comes upon prune waits for it, and then sees an emptied slot, but with the snapshot from before not yet where its jobs
-- went. So what is not found is looked for once more, which takes a function that is not stable.
create function millrace.job(id bigint) returns jsonb language plpgsql volatile
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  j record;
  o record;
begin
  for look in 1..2 loop
    select * into j from millrace.newest(job.id);
    exit when j.id is not null;
    select a.job into o from millrace.archive a where a.id = job.id;
    if found then
      return o.job;
    end if;
  end loop;
  if j.id is null then
    return null;
  end if;
  select * into o from millrace.outcome_log where slot = j.slot and id = j.id and attempt = j.attempt;
  return jsonb_build_object(
    'id', j.id, 'kind', j.kind, 'queue', (select queue from millrace.lane l where l.id = j.lane limit 1),
    'priority', (select priority from millrace.lane l where l.id = j.lane limit 1),
    'state', j.state,
    'attempt', j.attempt, 'max_attempts', j.max_attempts, 'args', j.payload,
    'tags', coalesce(to_jsonb(j.tags), '[]'), 'metadata', coalesce(j.metadata, '{}'),
    'progress', coalesce((select a.progress from millrace.attempt_state a where a.id = j.id and a.attempt = j.attempt), j.progress),
    'errors', case when o.error is null then coalesce(j.errors, '[]')
      else millrace.with_error(j.errors, j.attempt, o.error, o.finished_at) end,
    'wait', case j.state when 'waiting_external' then millrace.wait_of(j.id, j.attempt) end,
    'put_back', j.put_back, 'result', o.result, 'unique_key', j.unique_key,
    'dead_letter', (select jsonb_build_object('reason', d.reason, 'died_at', d.died_at, 'expires_at', d.expires_at)
      from millrace.dead_letter d where d.id = j.id),
    'enqueued_at', j.enqueued_at, 'run_at', j.run_at,
    'attempted_at', (select min(c.at) from millrace.claim_log c where c.slot = j.slot and c.span @> j.id
      and j.id = any (c.ids) -- quickly told: retries among new jobs make for wide spans
      and (j.id, j.attempt) in (select * from unnest(c.ids, c.attempts))),
    'finished_at', coalesce(o.finished_at, j.finished_at));
end $$;

-- What an open attempt waits for; null: nothing that has a name.
create function millrace.wait_of(id bigint, attempt int) returns jsonb language sql stable as $$
  select jsonb_build_object('name', w.name, 'since', w.since, 'deadline', w.deadline)
  from millrace.wait w where w.id = wait_of.id and w.attempt = wait_of.attempt
$$;

-- The state of a job; null when there is no such job (any more).
create function millrace.job_state(job bigint) returns text language plpgsql volatile as $$
declare
  state text;
begin
  for look in 1..2 loop -- see millrace.job
    state := coalesce((select n.state from millrace.newest(job) n), (select a.job ->> 'state' from millrace.archive a where a.id = job_state.job));
    exit when state is not null;
  end loop;
  return state;
end $$;

-- A job's newest attempt, wherever it stands: in the log (slot), deferred, or a dead letter. No row: no such job, or only in
-- the archive.
create function millrace.newest(job bigint) returns table (
  place text, slot smallint, xid xid8, id bigint, lane bigint, enqueued_at timestamptz, attempt int, max_attempts int, kind text,
  payload jsonb, run_at timestamptz, finished_at timestamptz, tags text[], metadata jsonb, progress jsonb, errors jsonb, put_back jsonb,
  unique_key text, unique_states smallint, rate_key text, state text
) language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
begin
  select * into place, slot, xid, id, lane, enqueued_at, attempt, max_attempts, kind, payload, run_at, finished_at, tags, metadata, progress,
    errors, put_back, unique_key, unique_states, rate_key, state
  from (
    select 'log', j.slot, j.xid, j.id, j.lane, j.enqueued_at, j.attempt, j.max_attempts, j.kind, j.payload, coalesce(j.ready_at, j.enqueued_at),
      null::timestamptz, j.tags, j.metadata, j.progress, j.errors, j.put_back, j.unique_key, j.unique_states, j.rate_key, null
    from millrace.job_log j where j.id = newest.job
    union all
    select 'deferred', null, null, d.id, d.lane, d.enqueued_at, d.attempt, d.max_attempts, d.kind, d.payload, d.run_at,
      null, d.tags, d.metadata, d.progress, d.errors, d.put_back, d.unique_key, d.unique_states, d.rate_key,
      case d.state when 's' then 'scheduled' else 'retryable' end
    from millrace.deferred d where d.id = newest.job
    union all -- after the log in the order below: as long as it is there, the log knows more
    select 'dead_letter', null, null, l.id, l.lane, l.enqueued_at, l.attempt, l.max_attempts, l.kind, l.payload, l.died_at,
      l.died_at, l.tags, l.metadata, l.progress, l.errors, null, l.unique_key, l.unique_states, l.rate_key, 'failed'
    from millrace.dead_letter l where l.id = newest.job
  ) a (place, slot, xid, id, lane, enqueued_at, attempt, max_attempts, kind, payload, run_at, finished_at, tags, metadata, progress,
    errors, put_back, unique_key, unique_states, rate_key, state)
  order by attempt desc, place desc limit 1;
  if id is null then
    return;
  end if;
  if place = 'log' then
    state := coalesce((select millrace.end_name(o.state) from millrace.outcome_log o
      where o.slot = newest.slot and o.id = newest.id and o.attempt = newest.attempt), millrace.open_state(slot, lane, xid, id, attempt));
  end if;
  return next;
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
             and open_state.id = any (p.ids) and (open_state.id, open_state.attempt) in (select * from unnest(p.ids, p.attempts))) then
    return 'waiting_external';
  end if;
  if exists (select from millrace.carried c where c.id = open_state.id and c.attempt = open_state.attempt) then
    return 'running';
  end if;
  select * into c from millrace.claim_log k where k.slot = open_state.slot and k.lane = open_state.lane order by k.n desc limit 1;
  if c.n is not null and (pg_visible_in_snapshot(xid, c.prev)
     or pg_visible_in_snapshot(xid, c.cur) and (c.last_id is null or (xid, id) <= (c.last_xid, c.last_id))) then
    return 'running';
  end if;
  return 'available';
end $$;
