-- Moves jobs that wait into another queue or priority (null: as it is), an operator's word. A deferred job stays as it is but for
-- its lane. An available one ends its attempt as released, before anybody has claimed it, and goes on in the other lane with the
-- next number. What runs, waits for a callback or has ended stays (not_movable). Answers for every job given its state from now
-- on, whether this call has moved it, and the code of what is in the way: not_found, not_movable; neither: it was there already.
--
-- No attempt runs in both lanes: claim only tries a lane's lock, which is held here from before the look at the lane's cursor
-- until the end of the transaction, and it looks for withdrawn attempts after it has the lock.
create function millrace.move(ids bigint[], queue text default null, priority int default null, by text default null)
returns table (id bigint, state text, moved boolean, problem text) language plpgsql as $$
declare
  done bigint[] := '{}';
begin
  for id, state, moved, problem in select * from millrace.move_jobs(ids, queue, priority) loop
    if moved then
      done := done || id;
    end if;
    return next;
  end loop;
  perform millrace.audit(by, 'job.move', jsonb_build_object('ids', done, 'queue', queue, 'priority', priority)) where done <> '{}';
end $$;

create function millrace.move_jobs(ids bigint[], queue text, priority int)
returns table (id bigint, state text, moved boolean, problem text) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set lock_timeout = '2s' as $$
#variable_conflict use_column
declare
  todo bigint[] := array(select distinct u from unnest(ids) u where u is not null order by u);
  left_over bigint[] := todo;
  done bigint[] := '{}';
  went bigint[];
  locked bigint[] := '{}'; -- lanes
begin
  if length(queue) not between 1 and 200 then
    raise exception 'millrace: a queue has a name of 1 to 200 characters' using errcode = 'check_violation', constraint = 'invalid_queue';
  elsif priority not between 1 and 4 then
    raise exception 'millrace: a priority is from 1 to 4' using errcode = 'check_violation', constraint = 'invalid_priority';
  end if;
  perform pg_advisory_xact_lock(7263, 0); -- two of us would wait for each other's lanes
  perform millrace.hold_segments();
  -- Again for those that moved on between the look and the lock: promoted, or put back.
  for lap in 1..3 loop
    locked := locked || array(
      select distinct n.lane from unnest(left_over) u cross join lateral millrace.newest(u) n where n.state = 'available' order by n.lane);
    perform pg_advisory_xact_lock(l) from unnest(locked) l;
    went := millrace.move_deferred(left_over, queue, priority) || millrace.move_available(left_over, queue, priority, locked);
    done := done || went;
    left_over := array(
      select u from unnest(left_over) u cross join lateral millrace.newest(u) n
      where u <> all (went) and n.state in ('scheduled', 'retryable', 'available')
        and n.lane is distinct from millrace.other_lane(n.lane, queue, priority) order by u);
    exit when left_over = '{}';
  end loop;
  if done <> '{}' then
    perform millrace.wake();
  end if;
  return query
  select u, s.state, u = any (done), case when s.state is null then 'not_found'
    when s.state not in ('scheduled', 'retryable', 'available') or u = any (left_over) then 'not_movable' end
  from unnest(todo) u cross join lateral (select millrace.job_state(u) as state offset 0) s; -- once each
end $$;

-- The lane of another queue or priority that takes the place of this one. A shard stays the same as far as there are as many.
create function millrace.other_lane(lane bigint, to_queue text, to_priority int) returns bigint language sql as $$
  select millrace.open_lane(coalesce(to_queue, l.queue), coalesce(to_priority, l.priority),
    case when coalesce(to_queue, l.queue) = l.queue then l.shard
      else l.shard % coalesce((select q.shards from millrace.queue q where q.name = to_queue), 1) end)
  from (select * from millrace.lane x where x.id = other_lane.lane limit 1) l
$$;

create function millrace.move_deferred(ids bigint[], to_queue text, to_priority int) returns bigint[] language sql as $$
  with locked as (
    select d.id, millrace.other_lane(d.lane, to_queue, to_priority) as lane
    from (select x.id, x.lane from millrace.deferred x where x.id = any (ids) order by x.id for update) d
  ), went as (
    update millrace.deferred d set lane = l.lane, bucket = null from locked l where d.id = l.id and d.lane <> l.lane returning d.id
  )
  select coalesce(array_agg(id), '{}') from went
$$;

-- Of jobs in lanes whose locks the caller has; what is read here is younger than that.
create function millrace.move_available(ids bigint[], to_queue text, to_priority int, locked bigint[]) returns bigint[] language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  found record;
  won bigint[];
begin
  select array_agg(s.number order by n.id) as segments, array_agg(n.id order by n.id) as ids, array_agg(n.attempt order by n.id) as attempts,
    array_agg(n.other order by n.id) as lanes
  into found
  from (
    select n.*, millrace.other_lane(n.lane, to_queue, to_priority) as other
    from unnest(move_available.ids) u cross join lateral millrace.newest(u) n where n.state = 'available'
  ) n
  join millrace.segment s on (s.number % 8)::smallint = n.slot
  where n.other <> n.lane and n.lane = any (locked);
  if found.ids is null then
    return '{}';
  end if;
  won := millrace.fence(found.segments, found.ids, found.attempts, array_fill('s'::"char", array[cardinality(found.ids)]), null);
  perform millrace.withdraw(w.segment) from (select distinct found.segments[n] as segment from unnest(won) n) w;
  insert into millrace.job_log (id, lane, enqueued_at, attempt, max_attempts, slot, kind, payload, ready_at, tags, metadata, progress, errors,
    put_back, unique_key, unique_states, rate_key)
  select j.id, found.lanes[n], j.enqueued_at, j.attempt + 1, j.max_attempts + 1, millrace.current_slot(), j.kind, j.payload, j.ready_at, j.tags,
    j.metadata, j.progress, j.errors, j.put_back, j.unique_key, j.unique_states, j.rate_key
  from unnest(won) n
  join millrace.job_log j on j.slot = (found.segments[n] % 8)::smallint and j.id = found.ids[n] and j.attempt = found.attempts[n]
  order by j.id;
  return coalesce(array(select found.ids[n] from unnest(won) n), '{}');
end $$;
