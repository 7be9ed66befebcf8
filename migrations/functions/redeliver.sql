-- Webhooks sent once more, under the same webhook-id, so that receivers can tell.

-- Sends one delivery again, by its job: one that failed goes on as the same job, one that has got through becomes a new one, for as
-- long as its job is readable. Answers the job that delivers it now, or the code of what is in the way: not_found, no_endpoint,
-- endpoint_disabled, not_retryable (it is under way). of_tenant: as if there were that tenant's endpoints only.
create function millrace.redeliver(job bigint, by text default null, of_tenant text default null) returns table (id bigint, problem text) language plpgsql as $$
begin
  select r.id, r.problem into id, problem from millrace.redeliver_one(job, of_tenant) r;
  perform millrace.audit(by, 'delivery.redeliver', jsonb_build_object('delivery', job, 'job', id)) where id is not null;
  return next;
end $$;

-- A name may have been another tenant's before, and what happened to its jobs is nobody else's business (see also the dispatcher's
-- deliverer).
create function millrace.redeliver_one(job bigint, of_tenant text default null) returns table (id bigint, problem text) language plpgsql as $$
#variable_conflict use_column
declare
  was jsonb := millrace.job(job);
  e millrace.endpoint;
begin
  if was ->> 'kind' is distinct from 'millrace' || '.webhook' then
    return query select null::bigint, 'not_found';
    return;
  end if;
  select * into e from millrace.endpoint x where x.name = was #>> '{args,endpoint}' and (x.tenant is null
    or was #> '{args,event,data,job_id}' is null or x.tenant = millrace.tenant_of(was #> '{args,event,data,metadata}'));
  if of_tenant is not null and e.tenant is distinct from of_tenant then
    return query select null::bigint, 'not_found';
    return;
  end if;
  if e.name is null or e.disabled_at is not null then
    return query select null::bigint, case when e.name is null then 'no_endpoint' else 'endpoint_disabled' end;
    return;
  end if;
  if was ->> 'state' <> 'completed' then
    select case when r.retried then r.id end, r.problem into id, problem from millrace.retry_jobs(array[job]) r;
    if problem is distinct from 'not_found' then
      return next;
      return;
    end if;
  end if;
  return query select millrace.enqueue_delivery(was -> 'args' || jsonb_build_object('message', coalesce(was #>> '{args,message}', 'msg_' || job))), null;
end $$;

-- Sends again what is on an endpoint's log of deliveries: all that failed, or, with only_failed false, every event of the time
-- given, once. Up to max_deliveries of them; answers {redelivered, refused, cursor}, and as long as there is a cursor, there is
-- more: hand it back.
create function millrace.redeliver_many(endpoint text, since timestamptz default null, until timestamptz default null,
  only_failed boolean default true, cursor text default null, max_deliveries int default null, by text default null) returns jsonb language plpgsql as $$
#variable_conflict use_column
declare
  most constant int := least(coalesce(max_deliveries, 100), 500);
  last_at timestamptz := coalesce(since, '-infinity');
  last_id bigint := -1;
  upto timestamptz := least(until, now()); -- what is redelivered here is on the log later, and not redelivered once more
  known constant boolean := exists (select from millrace.endpoint e where e.name = redeliver_many.endpoint);
  redelivered int := 0;
  refused int := 0;
  seen int := 0;
  d record;
  r record;
begin
  if cursor !~ '^\d{1,18}\.\d{1,18}\.\d{1,18}$' or most < 1 then
    perform millrace.refuse_request('a cursor is what the call before answered, a limit at least 1');
  elsif cursor is not null then
    last_at := timestamptz 'epoch' + split_part(cursor, '.', 1)::bigint * interval '1 microsecond';
    last_id := split_part(cursor, '.', 2);
    upto := timestamptz 'epoch' + split_part(cursor, '.', 3)::bigint * interval '1 microsecond';
  end if;
  for d in select * from millrace.delivered(endpoint, last_at, last_id, upto, only_failed, most) loop
    seen := seen + 1;
    last_at := d.at;
    last_id := d.id;
    continue when d.failed and millrace.job_state(d.job) is distinct from 'failed'; -- it was sent again already
    select * into r from millrace.redeliver_one(d.job) x;
    continue when r.problem = 'no_endpoint' and known; -- how many whoever had the name before has is nobody else's business either
    redelivered := redelivered + (r.id is not null)::int;
    refused := refused + (r.id is null)::int;
  end loop;
  perform millrace.audit(by, 'delivery.redeliver', jsonb_build_object('endpoint', endpoint, 'redelivered', redelivered, 'since', since, 'until', until,
    'only_failed', only_failed)) where redelivered > 0;
  return jsonb_build_object('redelivered', redelivered, 'refused', refused, 'cursor', case when seen = most then format('%s.%s.%s',
    (extract(epoch from last_at) * 1000000)::bigint, last_id, (extract(epoch from upto) * 1000000)::bigint) end);
end $$;

-- The next ends of deliveries on an endpoint's log, oldest first: failures, and unless only those are wanted what got through, each
-- event once.
create function millrace.delivered(endpoint text, last_at timestamptz, last_id bigint, upto timestamptz, only_failed boolean, most int)
returns table (id bigint, at timestamptz, job bigint, failed boolean) language sql stable set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
  select d.id, d.at, d.job, d.state = 'f' from (
    (select * from millrace.delivery d where d.endpoint = delivered.endpoint and d.state = 'f'
       and (d.at, d.id) > (last_at, last_id) and d.at <= upto order by d.at, d.id limit most)
    union all
    (select * from millrace.delivery d where not only_failed and d.endpoint = delivered.endpoint and d.state = 'c'
       and (d.at, d.id) > (last_at, last_id) and d.at <= upto and d.message = 'msg_' || d.job order by d.at, d.id limit most)
  ) d
  order by d.at, d.id limit most
$$;

-- A delivery's job. payload: {event, endpoint, message?}; message: the webhook-id of an event that was sent before.
create function millrace.enqueue_delivery(payload jsonb, max_attempts int default null) returns bigint language plpgsql as $$
#variable_conflict use_column
declare
  made bigint;
begin
  insert into millrace.job_log (id, lane, max_attempts, slot, kind, payload)
  select nextval('millrace.job_id'), millrace.open_lane('millrace' || '.webhooks', 2), coalesce(enqueue_delivery.max_attempts, s.value),
    millrace.current_slot(), 'millrace' || '.webhook', enqueue_delivery.payload
  from millrace.setting s where s.name = 'webhook_max_attempts'
  returning id into made;
  perform millrace.wake();
  return made;
end $$;
