-- Which jobs match a filter, for lists and batches. What that costs stands in docs/operate.md.

-- The ids of up to `max_jobs` jobs below a given id that match, newest first, after a look at up to `looks` jobs; and below
-- which id to go on (null: nothing is left). All within one snapshot.
create function millrace.match_jobs(filter jsonb, below bigint, max_jobs int, looks int default 20000, out ids bigint[], out cursor bigint)
language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  states text[] := case jsonb_typeof(filter -> 'state') when 'string' then array[filter ->> 'state'] when 'array' then
    array(select jsonb_array_elements_text(filter -> 'state')) end;
  lanes bigint[] := case when filter ->> 'queue' is not null then array(select l.id from millrace.lane l where l.queue = filter ->> 'queue') end;
  known bigint[] := millrace.known_ids(filter, states, lanes, below);
  chunk int := least(greatest(4 * max_jobs, 500), looks); -- grows: most pages are full soon
  seen int;
  open_states constant text[] := array['available', 'running', 'waiting_external'];
  left_to_open int := greatest(looks / 4, 1); -- finding out in which of them an attempt is is the dear part
  c record;
begin
  ids := '{}';
  cursor := coalesce(below, 9223372036854775807);
  if states <@ array['running', 'waiting_external'] then
    cursor := least(cursor, millrace.claimed_below(cursor));
  end if;
  loop
    seen := 0;
    for c in select * from millrace.candidates(filter, states, lanes, known, cursor, chunk) loop
      seen := seen + 1;
      cursor := c.id;
      continue when not c.fits;
      if states is null or c.state = any (states) or c.state is null and states @> open_states then
        ids := ids || c.id;
      elsif c.state is null and states && open_states then
        left_to_open := left_to_open - 1;
        if millrace.open_state(c.slot, c.lane, c.xid, c.id, c.attempt) = any (states) then
          ids := ids || c.id;
        end if;
      end if;
      if cardinality(ids) = max_jobs or left_to_open = 0 then
        return;
      end if;
    end loop;
    looks := looks - seen;
    if seen < chunk then
      cursor := null;
      return;
    end if;
    exit when looks <= 0;
    chunk := least(4 * chunk, looks);
  end loop;
end $$;

-- The candidates when they can be told without a walk: given, the holder of the unique key, or unclaimed jobs if they are
-- few. Null: they cannot.
create function millrace.known_ids(filter jsonb, states text[], lanes bigint[], below bigint) returns bigint[] language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  found bigint[];
begin
  if filter ->> 'ids' is not null then
    return array(select distinct i.id::bigint from jsonb_array_elements_text(filter -> 'ids') i(id));
  elsif filter ->> 'unique_key' is not null then
    return array(select u.job from millrace.unique_lock u where u.key = filter ->> 'unique_key');
  elsif states <@ array['available'] then
    found := array(
      select w.id
      from (select distinct l.id from millrace.lane l where lanes is null or l.id = any (lanes)) l
      cross join (select (s.number % 8)::smallint as slot from millrace.segment s where s.opened_xid is not null) s
      left join lateral (
        select * from millrace.claim_log k where k.slot = s.slot and k.lane = l.id order by k.n desc limit 1
      ) c on true
      cross join lateral (
        select w.id from millrace.window_of(s.slot, l.id, c.prev, c.cur, c.last_xid, c.last_id, 1001) w where c.last_id is not null
        union all
        select w.id from millrace.window_of(s.slot, l.id, coalesce(c.cur, '1:1:'), pg_current_snapshot(), '0', 0, 1001) w
      ) w
      limit 1001);
    return case when cardinality(found) <= 1000 then found end;
  end if;
  return null;
end $$;

-- The first `most` jobs below an id, newest first, one row each: where their newest attempt stands, its state (null: in the
-- log and open), and whether all of the filter but the state holds. Joins by nested loops only: any other would read a whole
-- log, however few rows are asked for. What may be large is carried along only where it is asked for.
create function millrace.candidates(filter jsonb, states text[], lanes bigint[], known bigint[], below bigint, most int)
returns table (id bigint, attempt int, slot smallint, lane bigint, xid xid8, state text, fits boolean) language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  ended boolean := coalesce(states <@ array['failed', 'cancelled', 'scheduled', 'retryable'], false);
begin
  if known is not null then
    return query
    select distinct on (c.id) c.id, c.attempt, c.slot, c.lane, c.xid, c.state, millrace.fits(filter, lanes, c.lane, c.kind, c.tags, c.metadata, c.enqueued_at)
    from (select k.id from unnest(known) k(id) where k.id < below order by k.id desc limit most) k
    cross join lateral (
      select n.id, n.attempt, n.slot, n.lane, n.xid, n.kind, n.tags, n.metadata, n.enqueued_at, n.state from millrace.newest(k.id) n
      union all
      select a.id, 0, null, millrace.lane_of(a.job), null, a.job ->> 'kind', millrace.tags_of(a.job), a.job -> 'metadata', (a.job ->> 'enqueued_at')::timestamptz, a.job ->> 'state'
      from millrace.archive a where a.id = k.id
    ) c
    order by c.id desc, c.attempt desc;
    return;
  end if;
  return query
  with log as (
    select j.id, j.attempt, j.slot, j.lane, j.xid, j.kind, j.tags, case when filter ->> 'tenant' is not null then j.metadata end as metadata, j.enqueued_at,
      o.state::text as ended
    from (
      select distinct on (j.id) j.id, j.attempt, j.slot, j.lane, j.xid, j.kind, j.tags, j.metadata, j.enqueued_at
      from millrace.job_log j where not ended and j.id < below order by j.id desc, j.attempt desc limit most
    ) j
    left join millrace.outcome_log o on o.slot = j.slot and o.id = j.id and o.attempt = j.attempt
  ), unhappy as (
    select j.id, j.attempt, j.slot, j.lane, j.xid, j.kind, j.tags, case when filter ->> 'tenant' is not null then j.metadata end as metadata, j.enqueued_at,
      case when exists (select from millrace.job_log later where later.id = o.id and later.attempt > o.attempt) then 'r' else o.state::text end
    from (
      select distinct on (o.id) o.id, o.attempt, o.slot, o.state from millrace.outcome_log o
      where o.state in ('f', 'x') and o.id < below and ended and states && array['failed', 'cancelled']
      order by o.id desc, o.attempt desc limit most
    ) o
    join millrace.job_log j on j.slot = o.slot and j.id = o.id and j.attempt = o.attempt
  ), waiting as (
    select d.id, d.attempt, null::smallint, d.lane, null::xid8, d.kind, d.tags, case when filter ->> 'tenant' is not null then d.metadata end as metadata,
      d.enqueued_at, d.state::text as ended
    from millrace.deferred d
    where d.id < below and (states is null or states && array['scheduled', 'retryable']) order by d.id desc limit most
  ), dead as (
    select l.id, l.attempt, null::smallint, l.lane, null::xid8, l.kind, l.tags, case when filter ->> 'tenant' is not null then l.metadata end as metadata,
      l.enqueued_at, 'f'
    from millrace.dead_letter l
    where l.id < below and (states is null or 'failed' = any (states)) order by l.id desc limit most
  ), kept as (
    select a.id, 0, null::smallint, millrace.lane_of(a.job), null::xid8, a.job ->> 'kind', millrace.tags_of(a.job),
      case when filter ->> 'tenant' is not null then a.job -> 'metadata' end as metadata, (a.job ->> 'enqueued_at')::timestamptz, a.job ->> 'state'
    from millrace.archive a
    where a.id < below and (states is null or states && array['completed', 'failed', 'cancelled']) order by a.id desc limit most
  )
  -- What went on (r, s in the log) is below what it went on as, and stays a candidate, so that it counts as looked at.
  select distinct on (c.id) c.id, c.attempt, c.slot, c.lane, c.xid,
    case when c.place = 3 then case c.ended when 's' then 'scheduled' else 'retryable' end
      when c.place = 5 then c.ended
      else coalesce(millrace.end_name(c.ended::"char"), case when c.ended is not null then 'gone on' end) end,
    c.ended is distinct from 'gone on' and (c.place not in (1, 2) or c.ended is null or c.ended in ('c', 'f', 'x'))
      and millrace.fits(filter, lanes, c.lane, c.kind, c.tags, c.metadata, c.enqueued_at)
  from (
    select 1 as place, * from log union all select 2, * from unhappy union all select 3, * from waiting
    union all select 4, * from dead union all select 5, * from kept
  ) c (place, id, attempt, slot, lane, xid, kind, tags, metadata, enqueued_at, ended)
  order by c.id desc, c.attempt desc, c.place limit most;
end $$;

-- Whether what a filter says besides the state holds. Plain and stable, so that the planner inlines it.
create function millrace.fits(filter jsonb, lanes bigint[], lane bigint, kind text, tags text[], metadata jsonb, enqueued_at timestamptz) returns boolean
language sql stable as $$
  select (lanes is null or lane = any (lanes))
    and (filter ->> 'kind' is null or kind = filter ->> 'kind')
    and (filter ->> 'tag' is null or coalesce(filter ->> 'tag' = any (tags), false))
    and (filter ->> 'tenant' is null or coalesce(metadata ->> 'tenant' = filter ->> 'tenant', false))
    and (filter ->> 'enqueued_after' is null or enqueued_at >= (filter ->> 'enqueued_after')::timestamptz)
    and (filter ->> 'enqueued_before' is null or enqueued_at < (filter ->> 'enqueued_before')::timestamptz)
$$;

-- Of a job as the archive keeps it.
create function millrace.lane_of(job jsonb) returns bigint language sql stable as $$
  select l.id from millrace.lane l where l.queue = job ->> 'queue' and l.priority = (job ->> 'priority')::smallint limit 1
$$;
create function millrace.tags_of(job jsonb) returns text[] language sql immutable as $$
  select array(select jsonb_array_elements_text(job -> 'tags'))
$$;

-- An id below the given one, above which (and below the given one) no job was ever claimed: so that looking for running jobs
-- does not walk through a backlog.
create function millrace.claimed_below(below bigint) returns bigint language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  high bigint := least(below, (select last_value + 1 from millrace.job_id));
  step bigint := 10000;
  highest bigint;
begin
  while high > 0 loop
    select max(least(upper(c.span), high)) into highest from millrace.claim_log c where c.span && int8range(high - step, high);
    if highest is not null then
      return highest;
    end if;
    high := high - step;
    step := step * 2;
  end loop;
  return 0;
end $$;
