-- enqueue: one job, in the caller's transaction. enqueue_many: any number of them, ids in the order given; each element
-- is {kind, args, queue?, priority?, run_at?, delay_seconds?, max_attempts?, tags?, metadata?}.
-- What a call leaves out comes from the kind's declaration, else from the settings.
create function millrace.enqueue_many(jobs jsonb) returns setof bigint language plpgsql
set jit = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
  defaults jsonb := (select jsonb_object_agg(name, value) from millrace.setting);
  default_priority int := defaults -> 'default_priority';
  default_max_attempts int := defaults -> 'default_max_attempts';
  payload_limit bigint := defaults -> 'payload_limit_bytes';
  slot smallint := millrace.current_slot();
begin
  return query
  with given as materialized ( -- so that job_problem is inlined
    select j.*, coalesce(j.args, jobs -> (j.nth - 1)::int -> 'args', '{}') as payload, make_interval(secs => j.delay_seconds) as delay,
      coalesce(j.queue, k.queue, 'default') as to_queue,
      coalesce(j.priority, k.priority, default_priority) as to_priority,
      coalesce(j.max_attempts, k.max_attempts, default_max_attempts) as attempts
    from rows from (jsonb_to_recordset(jobs) as (kind text, args jsonb, queue text, priority int, run_at timestamptz,
      delay_seconds float8, max_attempts int, tags text[], metadata jsonb)) with ordinality
      as j(kind, args, queue, priority, run_at, delay_seconds, max_attempts, tags, metadata, nth)
    left join millrace.kind k on k.name = j.kind
  ), checked as (
    select g.*, millrace.job_problem(kind, payload, to_queue, to_priority, run_at, delay, attempts, tags, metadata, payload_limit) as problem
    from given g
  ), lane as materialized (
    select queue, priority, millrace.open_lane(queue, priority) as id
    from (select distinct to_queue, to_priority from given) d (queue, priority)
  ), job as materialized (
    select case when problem is null then nextval('millrace.job_id') else millrace.refuse(problem, nth, kind) end as id,
      lane, nth, kind, payload, attempts, tags, metadata, coalesce(run_at, now() + delay) as due
    from (
      select c.*, lane.id as lane
      from checked c left join lane on lane.queue = to_queue and lane.priority = to_priority
      order by c.nth -- joins keep no order, and the ids have to follow the one given
    ) ordered
  ), ready as (
    insert into millrace.job_log (id, lane, max_attempts, slot, kind, payload, tags, metadata)
    select id, lane, attempts, slot, kind, payload, tags, metadata
    from job where due is null or due <= now()
  ), later as (
    insert into millrace.deferred (id, run_at, lane, enqueued_at, attempt, max_attempts, state, kind, payload, tags, metadata)
    select id, due, lane, now(), 1, attempts, 's', kind, payload, tags, metadata
    from job where due > now()
  )
  select id from job order by nth;
  perform millrace.wake();
end $$;

-- Checks what it is given itself, though enqueue_many does so too: an error that arises there comes with all of its text.
create function millrace.enqueue(
  kind text, args jsonb default '{}', queue text default null, priority int default null, run_at timestamptz default null,
  delay interval default null, max_attempts int default null, tags text[] default null, metadata jsonb default null
) returns bigint language plpgsql as $$
declare
  problem text := millrace.job_problem(kind, args, queue, priority, run_at, delay, max_attempts, tags, metadata,
    (select value from millrace.setting where name = 'payload_limit_bytes'));
begin
  if problem is not null then
    perform millrace.refuse(problem, 1, kind);
  end if;
  return millrace.enqueue_many(jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
    'kind', kind, 'queue', queue, 'priority', priority, 'run_at', run_at, 'delay_seconds', extract(epoch from delay),
    'max_attempts', max_attempts)) || jsonb_build_object('args', args, 'tags', to_jsonb(tags), 'metadata', metadata)));
end $$;
