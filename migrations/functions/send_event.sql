-- Sends a named event to a job. The attempt that waits for it ends by it; as long as none does, the event is kept for the one
-- that will. action: event (what the wait's rules say; resume where it has none), resume, complete, fail, retry. Answers
--   applied: an attempt has ended by it (state: the job's from now on);
--   kept: nobody waits for it yet;
--   evaluate: nothing was done, for the wait has rules: the caller evaluates them and, unless the event is ignored, calls again
--     with resume, complete or fail, with the payload they make of it, and `for_attempt`: the attempt of this answer;
--   gone: nothing was done, for that attempt waits no more: the caller begins again with the event as it came;
--   ended, unknown: the job has; there is none (any more);
--   full: as many are kept already as the setting kept_events_limit allows.
create function millrace.send_event(job bigint, name text, payload jsonb default null, action text default 'event', for_attempt int default null)
returns table (answer text, state text, attempt int, rules jsonb) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set lock_timeout = '2s' as $$
#variable_conflict use_column
declare
  w record;
  ended record;
begin
  perform millrace.check_event(name, action, payload);
  perform millrace.hold_events(job);
  perform millrace.check_room(job, payload);
  loop
    select x.* into w from millrace.wait x where x.id = send_event.job and x.name = send_event.name;
    if for_attempt is not null and w.attempt is distinct from for_attempt then
      return query select 'gone', millrace.job_state(job), null::int, null::jsonb;
      return;
    end if;
    exit when w.id is null;
    if action = 'event' and w.rules is not null then
      if millrace.is_open(w.segment, w.id, w.attempt) then
        return query select 'evaluate', 'waiting_external', w.attempt, w.rules;
        return;
      end if;
    else
      select a.fresh into ended from millrace.apply_event(w.segment, w.id, w.attempt, action, name, payload, clock_timestamp()) a;
      if ended.fresh then
        return query select 'applied', millrace.job_state(job), w.attempt, null::jsonb;
        return;
      end if;
    end if;
    delete from millrace.wait x where x.id = w.id and x.attempt = w.attempt; -- left by a wait that crossed the attempt's end
  end loop;
  state := millrace.job_state(job);
  answer := case when state is null then 'unknown' when state in ('completed', 'failed', 'cancelled') then 'ended'
    when (select count(*) from millrace.kept_event k where k.job = send_event.job)
      >= (select s.value from millrace.setting s where s.name = 'kept_events_limit') then 'full' else 'kept' end;
  if answer = 'kept' then
    insert into millrace.kept_event (job, name, at, action, payload)
    values (send_event.job, send_event.name, clock_timestamp(), send_event.action, send_event.payload);
  end if;
  return next;
end $$;

-- Whoever waits for events of a job or sends one takes turns, until the transaction ends, and has to see what the last one did.
create function millrace.hold_events(job bigint) returns void language plpgsql as $$
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'millrace: events need a transaction in read committed' using errcode = 'object_not_in_prerequisite_state';
  end if;
  perform millrace.hold_segments();
  perform pg_advisory_xact_lock(7265, hashint8(job));
end $$;

-- Ends an attempt as an event asks for. Answers how it has ended, as in outcome_log, and whether by this.
create function millrace.apply_event(
  segment bigint, id bigint, attempt int, action text, name text, payload jsonb, at timestamptz, progress jsonb default null, error text default null,
  out fresh boolean, out state "char"
) language plpgsql as $$
declare
  detail jsonb := case when progress is null then '{}' else jsonb_build_object('progress', progress) end;
begin
  payload := coalesce(payload, 'null');
  detail := detail || case action
    when 'complete' then jsonb_build_object('result', payload)
    when 'fail' then jsonb_build_object('error', jsonb_build_object('code', 'event', 'message', coalesce(error, payload ->> 'error',
      case when jsonb_typeof(payload) = 'string' then payload #>> '{}' end, format('the event %s failed it', name))))
    when 'retry' then '{}'
    else jsonb_build_object('resumed', jsonb_build_object('name', name, 'payload', payload, 'at', at)) end;
  select c.fresh, c.state into fresh, state
  from millrace.close(array[segment], array[id], array[attempt],
    array[case action when 'complete' then 'completed' when 'fail' then 'fail' when 'retry' then 'release' else 'resume' end],
    jsonb_build_array(detail)) c;
  if not found then
    fresh := true;
    state := 'c';
  end if;
end $$;

-- Whether an attempt is there and has no end.
create function millrace.is_open(segment bigint, id bigint, attempt int) returns boolean language sql stable as $$
  select exists (
    select from millrace.segment s join millrace.job_log j on j.slot = (s.number % 8)::smallint and j.id = is_open.id and j.attempt = is_open.attempt
    where s.number = is_open.segment
      and not exists (select from millrace.outcome_log o where o.slot = j.slot and o.id = j.id and o.attempt = j.attempt))
$$;

-- Gives up the events of jobs that are no more.
create function millrace.forget_events(jobs bigint[]) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
  if jobs <> '{}' and exists (select from millrace.kept_event) then
    perform millrace.hold_segments(); -- or a job that prune is carrying is nowhere to be seen
    delete from millrace.kept_event k where k.job = any (jobs) and not exists (select from millrace.newest(k.job));
  end if;
end $$;

create function millrace.check_event(name text, action text default 'event', payload jsonb default null) returns void language plpgsql as $$
declare
  most bigint := (select value from millrace.setting s where s.name = 'payload_limit_bytes');
begin
  if name is null or length(name) not between 1 and 200 then
    perform millrace.refuse_event('an event has a name of 1 to 200 characters');
  elsif action is null or action not in ('event', 'resume', 'complete', 'fail', 'retry') then
    perform millrace.refuse_event('the action of an event is event, resume, complete, fail or retry');
  elsif octet_length(payload::text) > most then
    raise exception 'millrace: the payload of an event may have % bytes as JSON text', most using errcode = 'check_violation',
      constraint = 'payload_too_large', schema = 'millrace', hint = 'Store the large part elsewhere and pass a reference.';
  end if;
end $$;

-- A job goes on with all the events that it was sent, so there is a limit to them together: those it has and those that are kept.
create function millrace.check_room(job bigint, payload jsonb) returns void language plpgsql as $$
declare
  most bigint := (select value from millrace.setting s where s.name = 'events_limit_bytes');
begin
  if octet_length(payload::text)
    + coalesce((select octet_length((n.progress -> 'events')::text) from millrace.newest(job) n), 0)
    + coalesce((select sum(octet_length(k.payload::text)) from millrace.kept_event k where k.job = check_room.job), 0) > most then
    raise exception 'millrace: the events of a job may have % bytes together, as JSON text', most using errcode = 'check_violation',
      constraint = 'payload_too_large', schema = 'millrace', hint = 'Store the large part elsewhere and pass a reference.';
  end if;
end $$;

create function millrace.refuse_event(message text) returns void language plpgsql as $$
begin
  raise exception 'millrace: %', message using errcode = 'check_violation', constraint = 'invalid_event', schema = 'millrace';
end $$;
