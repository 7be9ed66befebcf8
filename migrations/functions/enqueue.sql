-- enqueue: one job, in the caller's transaction. enqueue_many: any number of them, ids in the order given; each element
-- is {kind, args, queue?, priority?, run_at?, delay_seconds?, max_attempts?, tags?, metadata?, ordering_key?, rate_key?,
-- unique_key?, unique_states?, unique_for_seconds?, on_conflict?}. enqueue_jobs tells, besides, what became of unique jobs:
-- whether the job was there already, and whether it was replaced by the one given.
-- What a call leaves out comes from the kind's declaration, else from the settings.

-- Jobs that use no key, as long as no queue has shards, go in by a statement that knows nothing of either: enqueue_jobs takes
-- a tenth more of the server's time. test/enqueue-jobs.test.ts compares the two.
create function millrace.enqueue_many(jobs jsonb) returns setof bigint language plpgsql
set jit = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
  defaults jsonb;
  sharded boolean;
  default_priority int;
  default_max_attempts int;
  payload_limit bigint;
  slot smallint;
begin
  select jsonb_object_agg(name, value), exists (select from millrace.queue where shards > 1) into defaults, sharded from millrace.setting;
  if sharded or jobs @? '$[*] ? (exists (@.unique_key) || exists (@.ordering_key) || exists (@.rate_key))' then
    return query select e.id from millrace.enqueue_jobs(jobs) e;
    return;
  end if;
  default_priority := defaults -> 'default_priority';
  default_max_attempts := defaults -> 'default_max_attempts';
  payload_limit := defaults -> 'payload_limit_bytes';
  slot := millrace.current_slot();
  return query
  with given as materialized ( -- so that job_problem is inlined
    select j.*, coalesce(j.args, jobs -> (j.nth - 1)::int -> 'args', '{}') as payload, millrace.delay_of(j.delay_seconds) as delay,
      coalesce(j.queue, k.queue, 'default') as to_queue,
      coalesce(j.priority, k.priority, default_priority) as to_priority,
      coalesce(j.max_attempts, k.max_attempts, default_max_attempts) as attempts
    from rows from (jsonb_to_recordset(jobs) as (kind text, args jsonb, queue text, priority int, run_at timestamptz,
      delay_seconds float8, max_attempts int, tags text[], metadata jsonb)) with ordinality
      as j(kind, args, queue, priority, run_at, delay_seconds, max_attempts, tags, metadata, nth)
    left join millrace.kind k on k.name = j.kind
  ), checked as (
    select g.*, millrace.job_problem(kind, payload, to_queue, to_priority, run_at, delay, attempts, tags, metadata, null, null, payload_limit) as problem
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
  delay interval default null, max_attempts int default null, tags text[] default null, metadata jsonb default null,
  ordering_key text default null, rate_key text default null, unique_key text default null, unique_states text[] default null,
  unique_for interval default null, on_conflict text default null
) returns bigint language plpgsql as $$
declare
  problem text := coalesce(
    millrace.job_problem(kind, args, queue, priority, run_at, delay, max_attempts, tags, metadata, ordering_key, rate_key,
      (select value from millrace.setting where name = 'payload_limit_bytes')),
    case when num_nonnulls(unique_key, unique_states, unique_for, on_conflict) > 0 then
      millrace.unique_problem(unique_key, unique_states, extract(epoch from unique_for)::float8, on_conflict) end);
  job jsonb;
begin
  if problem is not null then
    perform millrace.refuse(problem, 1, kind);
  end if;
  job := jsonb_strip_nulls(jsonb_build_object(
    'kind', kind, 'queue', queue, 'priority', priority, 'run_at', run_at, 'delay_seconds', extract(epoch from delay),
    'max_attempts', max_attempts)) || jsonb_build_object('args', args, 'tags', to_jsonb(tags), 'metadata', metadata);
  if num_nonnulls(ordering_key, rate_key, unique_key) > 0 then
    job := job || jsonb_strip_nulls(jsonb_build_object(
      'ordering_key', ordering_key, 'rate_key', rate_key, 'unique_key', unique_key, 'unique_states', to_jsonb(unique_states),
      'unique_for_seconds', extract(epoch from unique_for), 'on_conflict', on_conflict));
  end if;
  return millrace.enqueue_many(jsonb_build_array(job));
end $$;

create function millrace.enqueue_jobs(jobs jsonb) returns table (id bigint, existing boolean, replaced boolean) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
  defaults jsonb := (select jsonb_object_agg(name, value) from millrace.setting);
  default_priority int := defaults -> 'default_priority';
  default_max_attempts int := defaults -> 'default_max_attempts';
  payload_limit bigint := defaults -> 'payload_limit_bytes';
  slot smallint := millrace.current_slot();
  keyed jsonb[]; -- what take_keys says of each job
begin
  if jobs @? '$[*].unique_key' then
    keyed := millrace.take_keys(jobs);
  end if;
  return query
  with given as materialized ( -- so that job_problem is inlined
    select j.*, coalesce(j.args, jobs -> (j.nth - 1)::int -> 'args', '{}') as payload, millrace.delay_of(j.delay_seconds) as delay,
      coalesce(j.queue, k.queue, 'default') as to_queue,
      coalesce(j.priority, k.priority, default_priority) as to_priority,
      coalesce(j.max_attempts, k.max_attempts, default_max_attempts) as attempts,
      case when q.shards > 1 then millrace.shard_of(j.ordering_key, q.shards) else 0 end as shard,
      j.rate_key is not null and q.key_rate is not null as paced,
      keyed[j.nth] as held
    from rows from (jsonb_to_recordset(jobs) as (kind text, args jsonb, queue text, priority int, run_at timestamptz,
      delay_seconds float8, max_attempts int, tags text[], metadata jsonb, ordering_key text, rate_key text)) with ordinality
      as j(kind, args, queue, priority, run_at, delay_seconds, max_attempts, tags, metadata, ordering_key, rate_key, nth)
    left join millrace.kind k on k.name = j.kind
    left join millrace.queue q on q.name = coalesce(j.queue, k.queue, 'default')
  ), checked as (
    select g.*, millrace.job_problem(kind, payload, to_queue, to_priority, run_at, delay, attempts, tags, metadata,
      ordering_key, rate_key, payload_limit) as problem
    from given g
  ), lane as materialized (
    select queue, priority, shard, millrace.open_lane(queue, priority, shard) as id
    from (select distinct to_queue, to_priority, shard from given) d (queue, priority, shard)
  ), job as materialized (
    select case when problem is null then coalesce((held ->> 'id')::bigint, nextval('millrace.job_id'))
        else millrace.refuse(problem, nth, kind) end as id,
      held, lane, nth, kind, payload, attempts, tags, metadata, rate_key, coalesce(run_at, now() + delay) as due,
      case when held ? 'done' then null else paced or coalesce(coalesce(run_at, now() + delay) > now(), false) end as waits
    from (
      select c.*, lane.id as lane
      from checked c left join lane on lane.queue = to_queue and lane.priority = to_priority and lane.shard = c.shard
      order by c.nth -- joins keep no order, and the ids have to follow the one given
    ) ordered
  ), ready as (
    insert into millrace.job_log (id, lane, enqueued_at, attempt, max_attempts, slot, kind, payload, ready_at, tags, metadata, errors,
      unique_key, unique_states, rate_key)
    select id, lane, coalesce((held ->> 'enqueued_at')::timestamptz, now()), coalesce((held ->> 'attempt')::int, 1),
      attempts + coalesce((held ->> 'attempt')::int - 1, 0), slot, kind, payload, case when held ? 'attempt' then now() end, tags, metadata,
      nullif(held -> 'errors', 'null'), held ->> 'key', (held ->> 'states')::smallint, rate_key
    from job where not waits
  ), later as (
    insert into millrace.deferred (id, run_at, lane, enqueued_at, attempt, max_attempts, state, kind, payload, tags, metadata, errors,
      unique_key, unique_states, rate_key)
    select id, coalesce(due, now()), lane, coalesce((held ->> 'enqueued_at')::timestamptz, now()), coalesce((held ->> 'attempt')::int, 1),
      attempts + coalesce((held ->> 'attempt')::int - 1, 0), 's', kind, payload, tags, metadata,
      nullif(held -> 'errors', 'null'), held ->> 'key', (held ->> 'states')::smallint, rate_key
    from job where waits
  )
  select id, coalesce(held ? 'existing', false), coalesce(held ? 'replaced', false) from job order by nth;
  perform millrace.wake();
end $$;
