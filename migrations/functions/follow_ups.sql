-- Follow-ups: the jobs that events ask for, enqueued in the transaction of the event (see announce.sql), and what could not be.

-- All of them at once; when that meets an error, each on its own. One that cannot be enqueued is put on record instead, so
-- that it never stands in the way of the job that it follows. Errors that say nothing about the follow-up (a deadlock, a lock
-- that somebody holds, a server that shuts down or runs out of something) are the event's own: all of it is tried again.
create function millrace.enqueue_follow_ups(events text[], data jsonb[]) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  jobs jsonb;
  one record;
  failed text;
  code text;
  message text;
begin
  begin
    select jsonb_agg(millrace.follow_up_job(w.follow_up, w.job, w.event, w.data) order by w.nth, w.follow_up) into jobs
    from millrace.follow_ups_of(events, data) w;
    if jobs is not null then
      perform millrace.enqueue_many(jobs);
    end if;
    return;
  exception
    when transaction_rollback or lock_not_available or operator_intervention or insufficient_resources then
      raise;
    when others then -- below
  end;
  for one in select * from millrace.follow_ups_of(events, data) w order by w.nth, w.follow_up loop
    begin
      perform millrace.enqueue_many(jsonb_build_array(millrace.follow_up_job(one.follow_up, one.job, one.event, one.data)));
    exception
      when transaction_rollback or lock_not_available or operator_intervention or insufficient_resources then
        raise;
      when others then
        get stacked diagnostics failed = constraint_name, code = returned_sqlstate, message = message_text;
        insert into millrace.follow_up_problem (follow_up, event, job, attempt, code, message)
        values (one.follow_up, one.event, (one.data ->> 'job_id')::bigint, (one.data ->> 'attempt')::int,
          -- Its position in what was enqueued together, which is always the first, says nothing.
          coalesce(nullif(failed, ''), code), left(regexp_replace(message, '^millrace: job 1 \((kind .*?)\): ', 'millrace: \1: '), 2000));
    end;
  end loop;
end $$;

-- Which follow-up each of the events asks for. One for every kind does not follow what itself follows something, or it would
-- follow its own jobs for ever.
create function millrace.follow_ups_of(events text[], data jsonb[])
returns table (nth bigint, event text, data jsonb, follow_up text, job jsonb) language sql stable as $$
  select n.nth, n.event, n.data, f.name, f.job
  from unnest(events, data) with ordinality n(event, data, nth)
  join millrace.follow_up f on n.event = any (f.events)
    and (n.data ->> 'kind' = any (f.kinds) or f.kinds is null and not n.data -> 'metadata' ? 'follows')
$$;

-- The job to be enqueued, as enqueue_many takes it. Without args of its own it is given all that is told of the event. It
-- belongs to the tenant of the job that it follows, and knows which one that is.
create function millrace.follow_up_job(follow_up text, job jsonb, event text, data jsonb) returns jsonb language sql immutable as $$
  select job || jsonb_build_object(
      'args', case when job ? 'args' then millrace.fill(job -> 'args', data) else data end,
      'metadata', case when data -> 'metadata' ? 'tenant' then jsonb_build_object('tenant', data -> 'metadata' -> 'tenant') else '{}' end
        || coalesce(millrace.fill(job -> 'metadata', data), '{}')
        || jsonb_build_object('follows', jsonb_build_object(
          'job_id', data -> 'job_id', 'attempt', data -> 'attempt', 'event', event, 'follow_up', follow_up)))
    || case when job ? 'tags' then jsonb_build_object('tags', millrace.fill(job -> 'tags', data)) else '{}' end
$$;

-- What could not be enqueued, latest first: {items, cursor}. filter: {job?, follow_up?}.
create function millrace.list_follow_up_problems(filter jsonb default '{}', cursor text default null, max_problems int default null)
returns jsonb language plpgsql stable as $$
declare
  most int := least(coalesce(max_problems, 100), 1000);
begin
  if jsonb_typeof(filter) <> 'object' or filter - '{job,follow_up}'::text[] <> '{}' or filter ->> 'job' !~ '^\d{1,18}$'
    or cursor !~ '^\d{1,18}$' or most < 1 then
    perform millrace.refuse_request('a filter has a job and a follow_up, a cursor is what the page before answered, a limit at least 1');
  end if;
  return (
    select jsonb_build_object('items', coalesce(jsonb_agg(to_jsonb(p) order by p.id desc), '[]'),
      'cursor', case when count(*) = most then min(p.id)::text end)
    from (
      select * from millrace.follow_up_problem x
      where x.id < coalesce(list_follow_up_problems.cursor::bigint, 9223372036854775807)
        and (filter ->> 'job' is null or x.job = (filter ->> 'job')::bigint)
        and (filter ->> 'follow_up' is null or x.follow_up = filter ->> 'follow_up')
      order by x.id desc limit most
    ) p);
end $$;

-- The same of one job, oldest first.
create function millrace.follow_up_problems_of(job bigint) returns jsonb language sql stable as $$
  select coalesce(jsonb_agg(to_jsonb(p) - '{id,job}'::text[] order by p.id), '[]')
  from millrace.follow_up_problem p where p.job = follow_up_problems_of.job
$$;

-- Deletes those whose time on record is over, up to twenty times `max_rows`: there may be more of them than of jobs.
create function millrace.expire_follow_up_problems(max_rows int) returns void language sql as $$
  delete from millrace.follow_up_problem where id in (
    select id from millrace.follow_up_problem where at <= millrace.deliveries_kept_from()
    order by at limit 20 * max_rows for update skip locked)
$$;

-- From when on deliveries, and follow-ups that could not be enqueued, are on record.
create function millrace.deliveries_kept_from() returns timestamptz language sql stable as $$
  select now() - make_interval(secs => (select value from millrace.setting where name = 'delivery_retention_seconds'))
$$;

-- What is wrong with a declared follow-up; null: nothing. Fields with a $path are known only once there is an event.
create function millrace.follow_up_declaration_problem(follow_up jsonb) returns text language sql stable as $$
  select case
    when name is null or length(name) not between 1 and 220 or starts_with(name, 'millrace' || '.') then 'name has 1 to 220 characters and is not built in'
    when not coalesce(events <> '{}' and events <@ millrace.job_events(), false)
      then 'events are some of completed, retried, failed, cancelled, rescued and waiting'
    when kinds = '{}' then 'kinds is empty: leave it out for all of them'
    when jsonb_typeof(f.job) is distinct from 'object'
      or f.job - '{kind,args,queue,priority,delay_seconds,max_attempts,tags,metadata}'::text[] <> '{}'
      then 'job is an object of kind, args, queue, priority, delay_seconds, max_attempts, tags and metadata'
    when jsonb_typeof(f.job -> 'tags') not in ('array', 'object', 'null') then 'invalid_tags'
    when jsonb_typeof(f.job -> 'metadata') not in ('object', 'null') then 'invalid_metadata'
    when (f.job ->> 'delay_seconds')::float8 > 315360000 then 'delay_seconds is 0 to 315360000 (ten years)'
    when f.job -> 'metadata' ? 'follows' then 'metadata.follows is set by each event'
    else coalesce(
      (select millrace.job_problem(kind => j.kind, args => f.job -> 'args', queue => j.queue, priority => j.priority, run_at => null,
        delay => millrace.delay_of(j.delay_seconds), max_attempts => j.max_attempts,
        tags => case when jsonb_typeof(f.job -> 'tags') = 'array' and not millrace.has_path(f.job -> 'tags') then array(select jsonb_array_elements_text(f.job -> 'tags')) end,
        metadata => case when not millrace.has_path(f.job -> 'metadata') then nullif(f.job -> 'metadata', 'null') end,
        ordering_key => null, rate_key => null, payload_limit => (select value from millrace.setting where name = 'payload_limit_bytes'))
       from jsonb_to_record(f.job) as j(kind text, queue text, priority int, delay_seconds float8, max_attempts int)),
      millrace.template_problem(f.job))
  end
  from jsonb_to_record(follow_up) as f(name text, kinds text[], events text[], job jsonb)
$$;

create function millrace.declare_follow_ups(manifest jsonb, source text) returns void language sql as $$
  insert into millrace.follow_up (name, kinds, events, job, source)
  select name, kinds, events, job, declare_follow_ups.source
  from jsonb_to_recordset(manifest -> 'follow_ups') as f(name text, kinds text[], events text[], job jsonb)
  on conflict (name) do update set kinds = excluded.kinds, events = excluded.events, job = excluded.job
$$;

create function millrace.undeclare_follow_ups(manifest jsonb, source text) returns setof text language sql as $$
  delete from millrace.follow_up f where f.source = undeclare_follow_ups.source
    and not exists (select from jsonb_array_elements(manifest -> 'follow_ups') e where e ->> 'name' = f.name) returning f.name
$$;
