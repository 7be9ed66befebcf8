-- Completion webhooks: a delivery, which is a job of a built-in kind, for each subscription to the end of each of the
-- given attempts. Called by close, in its transaction. Deliveries have no subscribers of their own.
create function millrace.notify_subscribers(segments bigint[], ids bigint[], attempts int[], won bigint[]) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
begin
  insert into millrace.job_log (id, lane, max_attempts, slot, kind, payload)
  select nextval('millrace.job_id'), millrace.open_lane('millrace' || '.webhooks', 2),
    (select value from millrace.setting where name = 'webhook_max_attempts'), millrace.current_slot(), 'millrace' || '.webhook',
    jsonb_build_object('subscription', s.name, 'event', jsonb_build_object(
      'type', 'job.' || e.event,
      'timestamp', to_jsonb(o.finished_at),
      'data', jsonb_strip_nulls(jsonb_build_object(
        'job_id', j.id, 'kind', j.kind, 'queue', l.queue, 'attempt', j.attempt, 'state', e.event,
        'enqueued_at', j.enqueued_at, 'finished_at', o.finished_at, 'tags', to_jsonb(j.tags), 'error', o.error))
        || jsonb_build_object('args', j.payload, 'metadata', coalesce(j.metadata, '{}'), 'result', o.result)))
  from unnest(won) w
  join millrace.outcome_log o on o.slot = (segments[w] % 8)::smallint and o.id = ids[w] and o.attempt = attempts[w]
  join millrace.job_log j on j.slot = o.slot and j.id = o.id and j.attempt = o.attempt
  cross join lateral (select millrace.end_name(o.state) as event) e
  join millrace.subscription s on e.event = any (s.events) and (s.kinds is null or j.kind = any (s.kinds))
  cross join lateral (select l.queue from millrace.lane l where l.id = j.lane limit 1) l
  where not starts_with(j.kind, 'millrace' || '.')
  order by w, s.name;
  if found then
    perform millrace.wake();
  end if;
end $$;
