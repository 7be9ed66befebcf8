-- Limits of a queue over all dispatchers: attempts open at once (those that wait for an event count no more), and attempts per
-- second. Claimers of a limited queue take
-- turns (see claim.sql); the newest row of limit_log is what the last one left.

-- Takes the turn at a limited queue until the transaction ends; answers false when somebody else has it. Before the first
-- claim under a limit on open attempts all of them have to be counted, so nobody may be claiming any more who does not know
-- of the limit: such a claimer has a lane of the queue.
create function millrace.limit_turn(queue text) returns boolean language plpgsql as $$
begin
  if not pg_try_advisory_xact_lock(7262, hashtext(queue)) then
    return false;
  end if;
  return millrace.counted(queue)
    or (select bool_and(pg_try_advisory_xact_lock(l.id)) from (select distinct l.id from millrace.lane l where l.queue = limit_turn.queue) l);
end $$;

-- Whether the newest row of limit_log knows the open attempts: not so when the limit was set since.
create function millrace.counted(queue text) returns boolean language sql stable
set jit = off set enable_seqscan = off as $$
  select not exists (
    select from millrace.queue q where q.name = counted.queue and q.limited_since is distinct from (
      select l.since from millrace.limit_log l where l.queue = counted.queue order by l.n desc limit 1))
$$;

-- How many more jobs of the queue may be claimed now; null: no limit (any more).
create function millrace.room(queue text) returns int language sql stable as $$
  select least(q.max_running - cardinality(s.ids), floor(s.tokens), 2147483647)::int
  from millrace.queue q cross join lateral millrace.limit_state(q) s where q.name = room.queue
$$;

-- Counts what claim number `n` of a lane took.
create function millrace.take(queue text, in_segment bigint, of_lane bigint, n bigint) returns void language sql as $$
  insert into millrace.limit_log (n, at, tokens, since, slot, queue, segments, ids, attempts)
  select s.n + 1, s.at, s.tokens - cardinality(c.ids), q.limited_since, millrace.current_slot(), q.name,
    case when q.max_running is null then '{}' else s.segments || array_fill(in_segment, array[cardinality(c.ids)]) end,
    case when q.max_running is null then '{}' else s.ids || c.ids end,
    case when q.max_running is null then '{}' else s.attempts || c.attempts end
  from millrace.claim_log c cross join millrace.queue q cross join lateral millrace.limit_state(q, in_segment, c.ids) s
  where c.slot = (in_segment % 8)::smallint and c.lane = of_lane and c.n = take.n and q.name = take.queue
$$;

-- The open attempts of a queue that has a limit on them, but for the given ones of a segment, and the tokens in its bucket
-- (null: it has none), as of now.
create function millrace.limit_state(q millrace.queue, but_in bigint default null, but bigint[] default '{}')
returns table (n bigint, at timestamptz, tokens float8, segments bigint[], ids bigint[], attempts int[])
language sql stable set jit = off set enable_seqscan = off as $$
  with newest as materialized (
    select * from millrace.limit_log l where l.queue = q.name order by l.n desc limit 1
  ), moment as materialized (
    select clock_timestamp() as at, coalesce(q.burst, ceil(q.rate)) as size -- a new bucket is full
    where q.rate is not null
  ), open as (
    select u.* from newest l
    cross join lateral unnest(millrace.follow(l.segments, l.ids, l.attempts), l.ids, l.attempts) u(segment, id, attempt)
    join millrace.segment s on s.number = u.segment
    where l.since = q.limited_since
      and not exists (select from millrace.outcome_log o where o.slot = (u.segment % 8)::smallint and o.id = u.id and o.attempt = u.attempt)
      and not exists (select from millrace.wait w where w.id = u.id and w.attempt = u.attempt)
    union all
    select u.* from millrace.open_of(q.name) u
    where q.max_running is not null and not millrace.counted(q.name)
      and not (u.segment is not distinct from but_in and u.id = any (but))
  )
  select coalesce((select l.n from newest l), 0), coalesce(m.at, clock_timestamp()),
    least(m.size, coalesce((select l.tokens + q.rate * greatest(0, extract(epoch from m.at - l.at)) from newest l), m.size)),
    o.segments, o.ids, o.attempts
  from (
    select coalesce(array_agg(segment), '{}') as segments, coalesce(array_agg(id), '{}') as ids, coalesce(array_agg(attempt), '{}') as attempts
    from open
  ) o left join moment m on true
$$;

-- All attempts of a queue that were claimed, have no end and wait for no event: reads the claims of every segment in use.
create function millrace.open_of(queue text) returns table (segment bigint, id bigint, attempt int) language sql stable
set jit = off set enable_seqscan = off as $$
  with own as materialized (
    select distinct l.id from millrace.lane l where l.queue = open_of.queue
  ), claimed as (
    select s.number as segment, u.id, u.attempt
    from millrace.segment s cross join own l
    join millrace.claim_log c on c.slot = (s.number % 8)::smallint and c.lane = l.id
    cross join lateral unnest(c.ids, c.attempts) u(id, attempt)
    union all
    select c.segment, c.id, c.attempt from millrace.carried c
    join millrace.job_log j on j.slot = (c.segment % 8)::smallint and j.id = c.id and j.attempt = c.attempt
    where j.lane in (select id from own)
  )
  select c.segment, c.id, c.attempt from claimed c
  where not exists (select from millrace.outcome_log o where o.slot = (c.segment % 8)::smallint and o.id = c.id and o.attempt = c.attempt)
    and exists (select from millrace.job_log j where j.slot = (c.segment % 8)::smallint and j.id = c.id and j.attempt = c.attempt)
    and not exists (select from millrace.wait w where w.id = c.id and w.attempt = c.attempt)
$$;

-- When a job that waits for nothing but its queue's rate may be claimed; null: none does.
create function millrace.limited_until() returns timestamptz language sql stable
set jit = off set enable_seqscan = off as $$
  select min(s.at + make_interval(secs => greatest(0, 1 - s.tokens) / q.rate))
  from millrace.queue q cross join lateral millrace.limit_state(q) s
  where q.rate is not null and q.paused_at is null and (q.max_running is null or cardinality(s.ids) < q.max_running)
    and exists (
      select from millrace.lane l cross join millrace.segment g
      where l.queue = q.name and not g.drained and millrace.head(l.id, (g.number % 8)::smallint) is not null)
$$;
