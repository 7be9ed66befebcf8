-- Tells of what happened to attempts, in the transaction in which it happens: a delivery, which is a job of a built-in
-- kind, for each webhook endpoint that wants the event, and the jobs that follow it (see follow_ups.sql). Whoever puts
-- an outcome on record or lets an attempt wait calls this once the rest is in place (the outcome, the retry, the wait row).
--
-- which: the positions, from 1, of the attempts that it happened to. waiting: they wait now, instead of having ended. Of a
-- segment only its slot matters here, so a slot's number will do. Nothing is asked of the caller when nobody listens.
create function millrace.announce(segments bigint[], ids bigint[], attempts int[], which bigint[], waiting boolean default false)
returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  part constant int := 50; -- bounds the memory that large args and results take
  news record;
begin
  if not exists (select from millrace.endpoint) and not exists (select from millrace.follow_up) then
    return;
  end if;
  for done in 0 .. coalesce(cardinality(which), 0) - 1 by part loop
    select array_agg(n.event) as events, array_agg(n.at) as ats, array_agg(n.data) as data into news
    from (select * from millrace.news(segments, ids, attempts, which[done + 1:done + part], waiting) order by nth, event) n;
    if news.events is not null then
      perform millrace.notify_subscribers(news.events, news.ats, news.data);
      if exists (select from millrace.follow_up) then
        perform millrace.enqueue_follow_ups(news.events, news.data);
      end if;
    end if;
  end loop;
end $$;

-- The events that somebody wants to hear of, with what is told of them. Built-in kinds are not heard of.
create function millrace.news(segments bigint[], ids bigint[], attempts int[], which bigint[], waiting boolean)
returns table (nth bigint, event text, at timestamptz, data jsonb) language sql stable as $$
  select w, e.event, coalesce(o.finished_at, now()),
    jsonb_strip_nulls(jsonb_build_object(
      'job_id', j.id, 'kind', j.kind, 'queue', l.queue, 'attempt', j.attempt,
      'state', case when waiting then 'waiting_external' when o.state = 'r' then 'retryable' else millrace.end_name(o.state) end,
      'reason', case e.event when 'rescued' then o.error -> 'code' end,
      'enqueued_at', j.enqueued_at, 'finished_at', case when o.state <> 'r' then o.finished_at end, 'run_at', d.run_at,
      'tags', to_jsonb(j.tags), 'error', o.error,
      'wait', (select jsonb_build_object('name', x.name, 'deadline', x.deadline) from millrace.wait x
        where waiting and x.id = j.id and x.attempt = j.attempt)))
      || jsonb_build_object('args', j.payload, 'metadata', coalesce(j.metadata, '{}'), 'result', o.result)
  from unnest(which) w
  join millrace.job_log j on j.slot = (segments[w] % 8)::smallint and j.id = ids[w] and j.attempt = attempts[w]
  left join millrace.outcome_log o on not waiting and o.slot = j.slot and o.id = j.id and o.attempt = j.attempt
  left join millrace.deferred d on o.state = 'r' and d.id = j.id
  cross join lateral unnest(millrace.events_of(o.state, o.error, waiting)) e(event)
  cross join lateral (select l.queue from millrace.lane l where l.id = j.lane limit 1) l
  where not starts_with(j.kind, 'millrace' || '.') and (
    exists (select from millrace.endpoints_for(e.event, j.kind, millrace.tenant_of(j.metadata)))
    or exists (select from millrace.follow_up f where e.event = any (f.events) and (f.kinds is null or j.kind = any (f.kinds))))
$$;

-- What an attempt's end is called: nothing when the job goes on as if it had not been (put back, snoozed, released). An end
-- that rescue has found is told of as such too; its errors' codes are rescue's own.
create function millrace.events_of(state "char", error jsonb, waiting boolean) returns text[] language sql immutable as $$
  select case when waiting then '{waiting}'
    else array_remove(array[
      case when state = 'r' then 'retried' else millrace.end_name(state) end,
      case when state <> 's' and error ->> 'code' = any (millrace.rescue_codes()) then 'rescued' end
    ], null) end
$$;

-- All there are.
create function millrace.job_events() returns text[] language sql immutable as $$
  select '{completed,retried,failed,cancelled,rescued,waiting}'::text[]
$$;

-- Which endpoints want to hear of an event: those of the job's tenant, and those of none. There may be very many of other tenants.
create function millrace.endpoints_for(event text, kind text, tenant text) returns table (name text) language sql stable as $$
  select e.name from millrace.endpoint e
  where e.tenant is null and event = any (e.events) and (e.kinds is null or kind = any (e.kinds))
  union all
  select e.name from millrace.endpoint e
  where e.tenant = endpoints_for.tenant and event = any (e.events) and (e.kinds is null or kind = any (e.kinds))
$$;

-- Webhooks: the given events have happened; a delivery for each of them and each endpoint that wants it.
create function millrace.notify_subscribers(events text[], ats timestamptz[], data jsonb[]) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
  insert into millrace.job_log (id, lane, max_attempts, slot, kind, payload)
  select nextval('millrace.job_id'), millrace.open_lane('millrace' || '.webhooks', 2),
    (select value from millrace.setting where name = 'webhook_max_attempts'), millrace.current_slot(), 'millrace' || '.webhook',
    jsonb_build_object('endpoint', e.name, 'event', jsonb_build_object(
      'type', 'job.' || n.event, 'timestamp', to_jsonb(n.at), 'data', n.data))
  from unnest(events, ats, data) with ordinality n(event, at, data, nth)
  cross join lateral millrace.endpoints_for(n.event, n.data ->> 'kind', millrace.tenant_of(n.data -> 'metadata')) e
  order by n.nth, e.name;
  if found then
    perform millrace.wake();
  end if;
end $$;
