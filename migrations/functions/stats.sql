-- Numbers for operators, at a bounded cost whatever the backlog and the history: small numbers are counted, large ones
-- estimated, and every estimate says that it is one. Nothing here is meant to be exact while others write.

-- How many jobs of each queue and kind are in each state: available, scheduled, retryable, running, waiting_external,
-- dead_letters, and completed, failed and cancelled within the last hour (completed_last_hour ...). `exact` is false for an
-- estimate; a row without a queue or kind says that all numbers of that state (of that queue) are.
create function millrace.job_counts() returns table (queue text, kind text, state text, jobs bigint, exact boolean) language sql stable
set jit = off as $$
  with counted as (
    select lane, kind, 'available' as state, jobs, exact from millrace.count_available()
    union all select * from millrace.count_deferred()
    union all select * from millrace.count_open()
    union all select * from millrace.count_ended()
  )
  select l.queue, c.kind, c.state, sum(c.jobs)::bigint, bool_and(c.exact)
  from counted c left join (select distinct id, queue from millrace.lane) l on l.id = c.lane
  group by 1, 2, 3
$$;

-- One row for each queue that was ever used, declared or paused. `estimated` is an array of the
-- names of those numbers that are estimates.
create function millrace.queue_stats() returns table (
  queue text, paused_at timestamptz, paused_by text, source text, weight float8, shards smallint, max_running int, rate float8, burst int,
  key_rate float8, key_burst int, available bigint, scheduled bigint, retryable bigint, running bigint, waiting_external bigint,
  dead_letters bigint, completed_last_hour bigint, failed_last_hour bigint, cancelled_last_hour bigint,
  lag_seconds float8, -- how long the first of the available jobs has waited; null: there is none
  estimated jsonb
) language sql stable set jit = off as $$
  with counted as materialized (
    select * from millrace.job_counts()
  ), named as (
    select name from millrace.queue union select l.queue from millrace.lane l
  ), head as (
    select l.queue, min(millrace.head(l.id, (s.number % 8)::smallint)) as since
    from (select distinct id, queue from millrace.lane) l cross join millrace.segment s where not s.drained group by l.queue
  )
  select n.name, q.paused_at, q.paused_by, q.source, coalesce(q.weight, 1), coalesce(q.shards, 1::smallint), q.max_running, q.rate, q.burst,
    q.key_rate, q.key_burst, c.*, case when c.available > 0 then extract(epoch from now() - h.since)::float8 end,
    (select coalesce(jsonb_agg(distinct x.state), '[]') from counted x where not x.exact and (x.queue is null or x.queue = n.name))
  from named n left join millrace.queue q on q.name = n.name left join head h on h.queue = n.name
  cross join lateral (
    select coalesce(sum(jobs) filter (where state = 'available'), 0)::bigint as available,
      coalesce(sum(jobs) filter (where state = 'scheduled'), 0)::bigint,
      coalesce(sum(jobs) filter (where state = 'retryable'), 0)::bigint, coalesce(sum(jobs) filter (where state = 'running'), 0)::bigint,
      coalesce(sum(jobs) filter (where state = 'waiting_external'), 0)::bigint, coalesce(sum(jobs) filter (where state = 'dead_letters'), 0)::bigint,
      coalesce(sum(jobs) filter (where state = 'completed_last_hour'), 0)::bigint,
      coalesce(sum(jobs) filter (where state = 'failed_last_hour'), 0)::bigint,
      coalesce(sum(jobs) filter (where state = 'cancelled_last_hour'), 0)::bigint
    from counted x where x.queue = n.name
  ) c
  order by n.name
$$;

-- The same for each kind that is declared or of which there are jobs.
create function millrace.kind_stats() returns table (
  kind text, queue text, source text, available bigint, scheduled bigint, retryable bigint, running bigint, waiting_external bigint,
  dead_letters bigint, completed_last_hour bigint, failed_last_hour bigint, cancelled_last_hour bigint, estimated jsonb
) language sql stable set jit = off as $$
  with counted as materialized (
    select * from millrace.job_counts()
  ), named as (
    select name from millrace.kind union select c.kind from counted c where c.kind is not null
  )
  select n.name, k.queue, k.source, c.*,
    (select coalesce(jsonb_agg(distinct x.state), '[]') from counted x where not x.exact and (x.kind is null or x.kind = n.name))
  from named n left join millrace.kind k on k.name = n.name
  cross join lateral (
    select coalesce(sum(jobs) filter (where state = 'available'), 0)::bigint, coalesce(sum(jobs) filter (where state = 'scheduled'), 0)::bigint,
      coalesce(sum(jobs) filter (where state = 'retryable'), 0)::bigint, coalesce(sum(jobs) filter (where state = 'running'), 0)::bigint,
      coalesce(sum(jobs) filter (where state = 'waiting_external'), 0)::bigint, coalesce(sum(jobs) filter (where state = 'dead_letters'), 0)::bigint,
      coalesce(sum(jobs) filter (where state = 'completed_last_hour'), 0)::bigint,
      coalesce(sum(jobs) filter (where state = 'failed_last_hour'), 0)::bigint,
      coalesce(sum(jobs) filter (where state = 'cancelled_last_hour'), 0)::bigint
    from counted x where x.kind = n.name
  ) c
  order by n.name
$$;

-- Which part of a table's pages to read, in percent, so that it is at most `pages` of them.
create function millrace.sample_percent(of regclass, pages int) returns float8 language sql stable as $$
  select least(100, 100.0 * pages * current_setting('block_size')::int / greatest(pg_relation_size(of), 1))::float8
$$;

-- Reads beyond the cursors, up to `most` jobs of each queue; what lies beyond those is estimated from 200 pages of each segment.
create function millrace.count_available(most int default 10000) returns table (lane bigint, kind text, jobs bigint, exact boolean) language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  place record;
  c record;
  batch record;
  in_queue text;
  unread int;
  lanes bigint[] := '{}'; -- where the estimates begin
  slots smallint[] := '{}';
  xids xid8[] := '{}';
  ids bigint[] := '{}';
begin
  for place in
    select l.id as lane, l.queue, (s.number % 8)::smallint as slot, exists (select from millrace.withdrawn w where w.segment = s.number) as withdrawn
    from (select distinct on (id) * from millrace.lane) l cross join millrace.segment s where not s.drained order by l.queue, s.number, l.id
  loop
    if place.queue is distinct from in_queue then
      in_queue := place.queue;
      unread := most;
    end if;
    select k.*, case when k.last_id is null then pg_snapshot_xmax(k.cur) else greatest(k.last_xid, pg_snapshot_xmax(k.prev)) end as from_xid
    into c from millrace.claim_log k where k.slot = place.slot and k.lane = place.lane order by k.n desc limit 1;
    with unclaimed as materialized (
      select b.*, row_number() over () as nth from (
        select * from millrace.window_of(place.slot, place.lane, c.prev, c.cur, c.last_xid, c.last_id, unread) where c.last_id is not null
        union all
        select * from millrace.window_of(place.slot, place.lane, coalesce(c.cur, '1:1:'), pg_current_snapshot(), '0', 0, unread)
      ) b limit unread
    ), counted as (
      select kind, count(*) as jobs from unclaimed u
      where not place.withdrawn
        or not exists (select from millrace.outcome_log o where o.slot = place.slot and o.id = u.id and o.attempt = u.attempt)
          and not exists (select from millrace.carried d where d.id = u.id and d.attempt = u.attempt)
      group by kind
    )
    select (select jsonb_object_agg(kind, jobs) from counted) as kinds, (select count(*) from unclaimed) as read, e.xid, e.id
    into batch from (values (1)) always left join (select xid, id from unclaimed order by nth desc limit 1) e on true;
    return query select place.lane, k.key, k.value::bigint, true from jsonb_each_text(batch.kinds) k;
    unread := unread - batch.read;
    if unread <= 0 then
      lanes := lanes || place.lane;
      slots := slots || place.slot;
      xids := xids || coalesce(batch.xid, c.from_xid, '0');
      ids := ids || coalesce(batch.id, case when c.last_xid >= c.from_xid then c.last_id end, -1);
    end if;
  end loop;
  return query select u, null::text, 0::bigint, false from unnest(lanes) u;
  for place in
    select u as slot, millrace.sample_percent(format('millrace.job_log_%s', u)::regclass, 200) as percent from (select distinct unnest(slots)) s(u)
  loop
    return query execute format('select j.lane, j.kind, round(count(*) * 100 / $5)::bigint, false
      from millrace.job_log_%s j tablesample system ($5) join unnest($1, $2, $3, $4) e(lane, slot, xid, id) on e.lane = j.lane
      where e.slot = $6 and (j.xid, j.id) > (e.xid, e.id) group by 1, 2', place.slot)
    using lanes, slots, xids, ids, place.percent, place.slot;
  end loop;
end $$;

-- Deferred jobs and dead letters: all of them, or what 500 pages of the table let expect.
create function millrace.count_deferred() returns table (lane bigint, kind text, state text, jobs bigint, exact boolean) language plpgsql stable
set jit = off as $$
declare
  part float8 := millrace.sample_percent('millrace.deferred', 500);
begin
  return query
  select d.lane, d.kind, case d.state when 's' then 'scheduled' else 'retryable' end, round(count(*) * 100 / part)::bigint, part = 100
  from millrace.deferred d tablesample system (part) group by 1, 2, 3
  union all
  select null, null, s, 0, false from unnest(array['scheduled', 'retryable']) s where part < 100;
  part := millrace.sample_percent('millrace.dead_letter', 500);
  return query
  select d.lane, d.kind, 'dead_letters', round(count(*) * 100 / part)::bigint, part = 100
  from millrace.dead_letter d tablesample system (part) group by 1, 2
  union all
  select null, null, 'dead_letters', 0, false where part < 100;
end $$;

-- Attempts that were claimed and have not ended: of each lane in each segment the newest claims, 200,000 attempts in all, and
-- what 30 pages of the older ones let expect.
create function millrace.count_open() returns table (lane bigint, kind text, state text, jobs bigint, exact boolean) language plpgsql stable
set jit = off set enable_seqscan = off as $$
#variable_conflict use_column
declare
  edge record; -- the oldest claim that was read, where there are older ones
  place record;
begin
  return query
  with place as materialized (
    select l.id as lane, (s.number % 8)::smallint as slot, greatest(100, 200000 / count(*) over ()) as most
    from (select distinct id from millrace.lane) l cross join millrace.segment s
  ), attempt as (
    select p.slot, u.id, u.attempt from place p cross join lateral millrace.newest_claims(p.slot, p.lane, p.most) c
    cross join lateral unnest(c.ids, c.attempts) u(id, attempt)
    union all
    select (c.segment % 8)::smallint, c.id, c.attempt from millrace.carried c
  )
  select o.lane, o.kind, o.state, count(*), true from attempt a cross join lateral millrace.open_attempt(a.slot, a.id, a.attempt) o group by 1, 2, 3;

  select array_agg(e.lane) as lanes, array_agg(e.slot) as slots, array_agg(e.n) as ns into edge from (
    select p.lane, p.slot, min(c.n) as n
    from (
      select l.id as lane, (s.number % 8)::smallint as slot, greatest(100, 200000 / count(*) over ()) as most
      from (select distinct id from millrace.lane) l cross join millrace.segment s
    ) p cross join lateral millrace.newest_claims(p.slot, p.lane, p.most) c group by 1, 2 having min(c.n) > 1
  ) e;
  return query select distinct u, null::text, s, 0::bigint, false from unnest(edge.lanes) u, unnest(array['running', 'waiting_external']) s;
  for place in
    select u as slot, millrace.sample_percent(format('millrace.claim_log_%s', u)::regclass, 30) as percent from (select distinct unnest(edge.slots)) s(u)
  loop
    return query execute format('select o.lane, o.kind, o.state, round(count(*) * 100 / $4)::bigint, false
      from millrace.claim_log_%s c tablesample system ($4) join unnest($1, $2, $3) e(lane, slot, n) on e.lane = c.lane and c.n < e.n
      cross join lateral unnest(c.ids, c.attempts) u(id, attempt) cross join lateral millrace.open_attempt($5, u.id, u.attempt) o
      where e.slot = $5 group by 1, 2, 3', place.slot)
    using edge.lanes, edge.slots, edge.ns, place.percent, place.slot;
  end loop;
end $$;

-- The newest claims of a lane, with `most` attempts and a few more.
create function millrace.newest_claims(in_slot smallint, of_lane bigint, most bigint) returns table (n bigint, ids bigint[], attempts int[]) language sql stable
set jit = off set enable_seqscan = off as $$
  select n, ids, attempts from (
    select k.n, k.ids, k.attempts, sum(cardinality(k.ids)) over (order by k.n desc) - cardinality(k.ids) as newer
    from (select * from millrace.claim_log c where c.slot = in_slot and c.lane = of_lane order by c.n desc limit 1000) k
  ) c where newer < most
$$;

-- The lane and kind of a claimed attempt, and whether it runs or waits for its callback; no row: it has ended.
create function millrace.open_attempt(in_slot smallint, id bigint, attempt int) returns table (lane bigint, kind text, state text) language sql stable as $$
  select j.lane, j.kind, case when exists (select from millrace.park_log p where p.slot = in_slot and p.span @> j.id
    and (j.id, j.attempt) in (select * from unnest(p.ids, p.attempts))) then 'waiting_external' else 'running' end
  from millrace.job_log j
  where j.slot = in_slot and j.id = open_attempt.id and j.attempt = open_attempt.attempt
    and not exists (select from millrace.outcome_log o where o.slot = in_slot and o.id = open_attempt.id and o.attempt = open_attempt.attempt)
$$;

-- What ended within the last hour, as far as 100 pages of each segment's outcomes tell.
create function millrace.count_ended() returns table (lane bigint, kind text, state text, jobs bigint, exact boolean) language plpgsql stable
set jit = off as $$
#variable_conflict use_column
declare
  place record;
begin
  for place in
    select (s.number % 8)::smallint as slot, millrace.sample_percent(format('millrace.outcome_log_%s', s.number % 8)::regclass, 100) as percent
    from millrace.segment s
  loop
    return query execute format('select j.lane, j.kind, millrace.end_name(o.state) || ''_last_hour'', round(count(*) * 100 / $1)::bigint, $1 = 100
      from millrace.outcome_log_%1$s o tablesample system ($1) join millrace.job_log_%1$s j on j.id = o.id and j.attempt = o.attempt
      where o.finished_at > now() - interval ''1 hour'' and o.state in (''c'', ''f'', ''x'') group by 1, 2, 3', place.slot)
    using place.percent;
    return query select null::bigint, null::text, s || '_last_hour', 0::bigint, false
      from unnest(array['completed', 'failed', 'cancelled']) s where place.percent < 100;
  end loop;
end $$;
