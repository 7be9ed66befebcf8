-- Bulk operations: submitted once, then done by the leader a chunk at a time. A chunk and the cursor that moves past it are one
-- transaction, so a crash loses nothing, and nothing is done twice.

-- Asks for `operation` (retry, cancel, set_priority, move_queue) on every job that matches and has an id by now. filter: as in
-- list_jobs, or {"all": true}; which states unless it says so: see batch_filter. params: {priority?, queue?}. by: for its record;
-- actor: see audit, `by` unless given.
create function millrace.submit_batch(operation text, filter jsonb, params jsonb default '{}', by text default null, actor text default null) returns jsonb language plpgsql as $$
declare
  wanted jsonb := millrace.batch_filter(operation, filter, params);
  made bigint;
begin
  insert into millrace.batch (operation, filter, params, created_by, upper_id)
  select submit_batch.operation, wanted, params, by, case when is_called then last_value else 0 end from millrace.job_id
  returning id into made;
  perform millrace.audit(coalesce(actor, by), 'batch.submit', jsonb_build_object('batch', made, 'operation', operation, 'filter', wanted,
    'params', params, 'by', by));
  perform millrace.wake('batches');
  return millrace.get_batch(made);
end $$;

-- How many jobs a batch would match now, counted up to 10,000, and the newest ten: {count, lower_bound, sample}.
create function millrace.preview_batch(operation text, filter jsonb, params jsonb default '{}') returns jsonb language plpgsql as $$
declare
  wanted jsonb := millrace.batch_filter(operation, filter, params);
  part record;
begin
  perform millrace.hold_segments();
  select * into part from millrace.match_jobs(wanted, null, 10000);
  return jsonb_build_object('count', cardinality(part.ids), 'lower_bound', part.cursor is not null,
    'sample', (select coalesce(jsonb_agg(millrace.job_row(u.id) order by u.nth), '[]') from unnest(part.ids[1:10]) with ordinality u(id, nth)));
end $$;

-- Does the next chunk of a batch: up to 100 jobs that match, after a look at up to 20,000. Answers the batch; null when it is
-- not open, or somebody else is at it.
create function millrace.batch_step(id bigint, epoch bigint default null) returns jsonb language plpgsql as $$
#variable_conflict use_column
declare
  b millrace.batch;
  part record;
  did record;
begin
  perform millrace.require_leader(epoch) where epoch is not null;
  select * into b from millrace.batch x where x.id = batch_step.id and x.state in ('pending', 'running') for update skip locked;
  if not found then
    return null;
  end if;
  perform millrace.hold_segments();
  select * into part from millrace.match_jobs(b.filter, coalesce(b.cursor_id, b.upper_id + 1), 100);
  select * into did from millrace.batch_chunk(b, part.ids);
  update millrace.batch x
  set state = case when part.cursor is null then 'completed' else 'running' end, finished_at = case when part.cursor is null then now() end,
    cursor_id = coalesce(part.cursor, x.cursor_id), matched = x.matched + cardinality(part.ids), changed = x.changed + did.changed,
    refused = x.refused + did.refused, error = coalesce(did.error, x.error)
  where x.id = batch_step.id;
  return millrace.get_batch(id);
end $$;

-- All of a chunk at once; when that meets an error, each job on its own, so that one bad row does not stop the batch.
create function millrace.batch_chunk(b millrace.batch, ids bigint[], out changed int, out refused int, out error text) language plpgsql as $$
declare
  one bigint;
  did record;
begin
  select * into did from millrace.batch_apply(b, ids);
  changed := did.changed;
  refused := did.refused;
exception
  when lock_not_available or deadlock_detected or serialization_failure or insufficient_resources or operator_intervention then
    raise; -- the whole chunk again, later
  when others then
    changed := 0;
    refused := 0;
    foreach one in array ids loop
      begin
        select * into did from millrace.batch_apply(b, array[one]);
        changed := changed + did.changed;
        refused := refused + did.refused;
      exception
        when lock_not_available or deadlock_detected or serialization_failure or insufficient_resources or operator_intervention then
          raise;
        when others then
          refused := refused + 1;
          error := format('job %s: %s', one, sqlerrm);
      end;
    end loop;
end $$;

create function millrace.batch_apply(b millrace.batch, ids bigint[], out changed int, out refused int) language plpgsql as $$
begin
  case b.operation
    when 'retry' then
      select count(*) filter (where r.retried), count(*) filter (where r.problem is not null) into changed, refused from millrace.retry_jobs(ids) r;
    when 'cancel' then
      select count(*) filter (where c.cancelled), count(*) filter (where not c.cancelled) into changed, refused
      from millrace.cancel(ids, format('batch %s', b.id)) c;
    else
      select count(*) filter (where m.moved), count(*) filter (where m.problem is not null) into changed, refused
      from millrace.move_jobs(ids, b.params ->> 'queue', (b.params ->> 'priority')::int) m;
  end case;
end $$;

-- Stops a batch; what is done stays done. Waits for the chunk that is under way. Null: there is no such batch.
create function millrace.cancel_batch(id bigint, by text default null) returns jsonb language plpgsql as $$
begin
  update millrace.batch x set state = 'cancelled', finished_at = now() where x.id = cancel_batch.id and x.state in ('pending', 'running');
  perform millrace.audit(by, 'batch.cancel', jsonb_build_object('batch', id)) where found;
  return millrace.get_batch(id);
end $$;

create function millrace.get_batch(id bigint) returns jsonb language sql stable as $$
  select millrace.batch_row(b) from millrace.batch b where b.id = get_batch.id
$$;

-- Newest first: {items, cursor}.
create function millrace.list_batches(state text default null, cursor text default null, max_batches int default null) returns jsonb language plpgsql as $$
declare
  most int := least(coalesce(max_batches, 100), 1000);
begin
  if cursor !~ '^\d{1,18}$' or most < 1 or state not in ('pending', 'running', 'completed', 'cancelled') then
    perform millrace.refuse_request('a cursor is what the page before answered, a limit at least 1, a state one of a batch');
  end if;
  return (
    select jsonb_build_object('items', coalesce(jsonb_agg(millrace.batch_row(b) order by b.id desc), '[]'),
      'cursor', case when count(*) = most then min(b.id)::text end)
    from (
      select * from millrace.batch x
      where x.id < coalesce(list_batches.cursor::bigint, 9223372036854775807) and (list_batches.state is null or x.state = list_batches.state)
      order by x.id desc limit most
    ) b);
end $$;

-- The batches that are not done, oldest first.
create function millrace.open_batches() returns jsonb language sql stable as $$
  select coalesce(jsonb_agg(b.id order by b.id), '[]')
  from (select x.id from millrace.batch x where x.state in ('pending', 'running') order by x.id limit 100) b
$$;

-- Forgets what ended longer ago than this. Answers how many.
create function millrace.purge_batches(older_than_seconds float8, by text default null) returns int language plpgsql as $$
declare
  purged int;
begin
  delete from millrace.batch where finished_at <= now() - make_interval(secs => older_than_seconds);
  get diagnostics purged = row_count;
  perform millrace.audit(by, 'batch.purge', jsonb_build_object('purged', purged, 'older_than_seconds', older_than_seconds)) where purged > 0;
  return purged;
end $$;

create function millrace.batch_row(b millrace.batch) returns jsonb language sql stable as $$
  select to_jsonb(b) - '{upper_id,cursor_id}'::text[]
$$;

-- The filter of a batch with the states it means: unless it says so, retry takes failed jobs (who cancels means it), the other
-- operations all that have not ended. Refuses what makes no sense.
create function millrace.batch_filter(operation text, filter jsonb, params jsonb) returns jsonb language plpgsql as $$
begin
  perform millrace.check_bulk_filter(filter, array['state', 'kind', 'queue', 'tag', 'ids', 'unique_key', 'tenant', 'enqueued_after', 'enqueued_before', 'all']);
  if operation is null or operation not in ('retry', 'cancel', 'set_priority', 'move_queue') then
    perform millrace.refuse_request('an operation is retry, cancel, set_priority or move_queue');
  elsif operation in ('retry', 'cancel') and params <> '{}' then
    perform millrace.refuse_request(format('%s has no parameters', operation));
  elsif operation = 'set_priority' and (params - 'priority' <> '{}' or params -> 'priority' is null)
    or operation = 'move_queue' and (params - '{queue,priority}'::text[] <> '{}' or params -> 'queue' is null) then
    perform millrace.refuse_request('set_priority takes a priority, move_queue a queue and, if wanted, a priority');
  elsif params ? 'priority' and coalesce(params ->> 'priority', '') !~ '^[1-4]$' then
    raise exception 'millrace: a priority is from 1 to 4' using errcode = 'check_violation', constraint = 'invalid_priority';
  elsif params ? 'queue' and coalesce(length(params ->> 'queue'), 0) not between 1 and 200 then
    raise exception 'millrace: a queue has a name of 1 to 200 characters' using errcode = 'check_violation', constraint = 'invalid_queue';
  end if;
  return case jsonb_typeof(filter -> 'state')
    when 'array' then '{}'
    when 'string' then jsonb_build_object('state', jsonb_build_array(filter -> 'state'))
    else jsonb_build_object('state', case operation when 'retry' then '["failed"]'::jsonb
      else '["scheduled", "available", "running", "retryable", "waiting_external"]' end)
  end::jsonb || case when filter ? 'state' and jsonb_typeof(filter -> 'state') = 'string' then filter - 'state' else filter end;
end $$;
