-- Limits of a queue over all dispatchers: attempts open at once, and attempts per second. Claimers of a limited queue take
-- turns (see claim.sql); the newest row of limit_log is what the last one left.

-- How many more jobs of the queue may be claimed now.
create function millrace.room(queue text) returns int language sql stable as $$
  select least(q.max_running - cardinality(s.ids), floor(s.tokens), 2147483647)::int
  from millrace.queue q cross join lateral millrace.limit_state(q) s where q.name = room.queue
$$;

-- Counts what claim number `n` of a lane took.
create function millrace.take(queue text, in_segment bigint, of_lane bigint, n bigint) returns void language sql as $$
  insert into millrace.limit_log (n, at, tokens, slot, queue, segments, ids, attempts)
  select s.n + 1, clock_timestamp(), s.tokens - cardinality(c.ids), millrace.current_slot(), q.name,
    case when q.max_running is null then '{}' else s.segments || array_fill(in_segment, array[cardinality(c.ids)]) end,
    case when q.max_running is null then '{}' else s.ids || c.ids end,
    case when q.max_running is null then '{}' else s.attempts || c.attempts end
  from millrace.queue q cross join lateral millrace.limit_state(q) s
  join millrace.claim_log c on c.slot = (in_segment % 8)::smallint and c.lane = of_lane and c.n = take.n
  where q.name = take.queue
$$;

-- The open attempts of a queue and the tokens in its bucket (null: it has none), as of now.
create function millrace.limit_state(q millrace.queue) returns table (n bigint, tokens float8, segments bigint[], ids bigint[], attempts int[])
language sql stable set jit = off set enable_seqscan = off as $$
  with newest as (
    select * from millrace.limit_log l where l.queue = q.name order by l.n desc limit 1
  ), open as (
    select u.* from newest l
    cross join lateral unnest(millrace.follow(l.segments, l.ids, l.attempts), l.ids, l.attempts) u(segment, id, attempt)
    join millrace.segment s on s.number = u.segment
    where not exists (select from millrace.outcome_log o where o.slot = (u.segment % 8)::smallint and o.id = u.id and o.attempt = u.attempt)
  )
  select coalesce((select l.n from newest l), 0),
    least(coalesce(q.burst, ceil(q.rate)), -- a new bucket is full
      coalesce((select l.tokens + q.rate * extract(epoch from clock_timestamp() - l.at) from newest l), coalesce(q.burst, ceil(q.rate)))),
    coalesce(array_agg(segment), '{}'), coalesce(array_agg(id), '{}'), coalesce(array_agg(attempt), '{}')
  from open
$$;
