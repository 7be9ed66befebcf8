-- Claims up to `max_jobs` jobs for a dispatcher, from all queues but `except_queues` (a JSON array) and those that are
-- paused: lanes of the first priority first, queues of one priority in an order drawn by their weights, in each lane the
-- oldest segment first and then in the order of (xid, id). A quarter is for lanes whose jobs have waited for long, as if they
-- were of a better priority; with all of it, a large backlog would take that priority over. The claim is on record, durably,
-- before the caller sees a job.
--
-- A lane's cursor is its newest claim_log row. Its window is what is visible in `cur` but not in `prev` (see window_of).
-- When a window is used up the next one opens from `cur` to now. So a transaction that stays open delays only its own jobs.
--
-- `only_segment`: looks there only, whether the queue is paused or limited or not (see bring_forward).
create function millrace.claim(runtime bigint, max_jobs int, except_queues jsonb default null, only_segment bigint default null)
returns table (
  segment bigint, id bigint, attempt int, max_attempts int, kind text, queue text, priority smallint,
  args text, metadata text, progress text, enqueued_at timestamptz
) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  place record;
  newest record;
  prev pg_snapshot;
  cur pg_snapshot;
  last_xid xid8; -- the window has been read up to (last_xid, last_id)
  last_id bigint;
  wanted int := max_jobs;
  for_aged int := floor(max_jobs * 0.25 + random());
  room int; -- what is left of wanted here
  contended boolean := false; -- somebody else may have found a limited queue locked
  got int;
begin
  if not exists (select from millrace.cluster where started_at = pg_postmaster_start_time()) then
    perform millrace.attach();
  end if;
  perform millrace.hold_segments();
  for place in select * from millrace.places(except_queues, only_segment) loop
    continue when place.aged and for_aged = 0 or not pg_try_advisory_xact_lock(place.lane);
    continue when place.limited and not millrace.limit_turn(place.queue);
    loop
      room := least(wanted, case when place.aged then for_aged end, case when place.limited then millrace.room(place.queue) end);
      exit when room <= 0;
      select c.n, c.prev, c.cur, c.last_xid, c.last_id, -- and whether anything is beyond that
        exists (select from millrace.job_log j where j.slot = place.slot and j.lane = place.lane
          and j.xid >= coalesce(pg_snapshot_xmax(c.cur), '0'))
        or exists (select from millrace.job_log j where j.slot = place.slot and j.lane = place.lane
          and j.xid = any (array(select x from pg_snapshot_xip(c.cur) x where pg_visible_in_snapshot(x, pg_current_snapshot())))) as more,
        -- Looked for under the lane's lock, which whoever moves attempts away has too.
        exists (select from millrace.withdrawn w where w.segment = place.segment) as withdrawn,
        -- A limit that was set since places() looked: whoever counts what is open has every lane (see limit_turn).
        not place.limited and exists (select from millrace.queue q where q.name = place.queue and q.max_running is not null and only_segment is null) as limited
      into newest
      from (values (1)) always left join lateral (
        select * from millrace.claim_log k where k.slot = place.slot and k.lane = place.lane order by k.n desc limit 1
      ) c on true;
      exit when newest.last_id is null and not newest.more or newest.limited;
      for pass in 1..2 loop
        if pass = 1 then
          continue when newest.last_id is null;
          prev := newest.prev; cur := newest.cur; last_xid := newest.last_xid; last_id := newest.last_id;
        else
          prev := coalesce(newest.cur, '1:1:'); cur := millrace.others_snapshot(); last_xid := '0'; last_id := 0;
        end if;
        return query
        with batch as materialized (
          select * from millrace.window_of(place.slot, place.lane, prev, cur, last_xid, last_id, room)
        ), total as (
          select coalesce(array_agg(id), '{}') as ids, coalesce(array_agg(attempt), '{}') as attempts,
            case when count(*) > 0 then int8range(min(id), max(id), '[]') else 'empty' end as span -- of two nulls it is all there is
          from batch where not newest.withdrawn or millrace.claimable(place.slot, id, attempt)
        ), claimed as (
          insert into millrace.claim_log (lane, n, runtime, last_xid, last_id, slot, prev, cur, ids, attempts, span)
          select place.lane, coalesce(newest.n, 0) + 1, claim.runtime, edge.xid, edge.id, place.slot, prev, cur, t.ids, t.attempts, t.span
          from total t
          left join (select xid, id from batch offset room - 1) edge on true -- none when the window is used up
          where exists (select from batch)
        )
        select place.segment, b.id, b.attempt, b.max_attempts, b.kind, place.queue, place.priority,
          b.payload::text, b.metadata::text, b.progress::text, b.enqueued_at
        from batch b where not newest.withdrawn or millrace.claimable(place.slot, b.id, b.attempt);
        get diagnostics got = row_count;
        -- That, or all of the batch was withdrawn.
        exit when got > 0 or newest.withdrawn and exists (
          select from millrace.claim_log k where k.slot = place.slot and k.lane = place.lane and k.n > coalesce(newest.n, 0));
      end loop;
      if place.limited and got > 0 then
        perform millrace.take(place.queue, place.segment, place.lane, coalesce(newest.n, 0) + 1);
        contended := true;
      end if;
      wanted := wanted - got;
      if place.aged then
        for_aged := for_aged - got;
      end if;
      -- Again, when all of the batch was withdrawn.
      exit when got > 0 or not newest.withdrawn or not exists (
        select from millrace.claim_log k where k.slot = place.slot and k.lane = place.lane and k.n > coalesce(newest.n, 0));
    end loop;
    exit when wanted = 0;
  end loop;
  if wanted < max_jobs then
    -- A dispatcher that was taken for dead must not claim under its old id: nobody would look for its attempts again.
    -- The lock makes the rescue that is about to give it up wait, and see this claim.
    perform from millrace.runtime r where r.id = claim.runtime for key share;
    if not found then
      raise exception 'millrace: runtime % was given up or never started', runtime using errcode = 'object_not_in_prerequisite_state';
    end if;
  end if;
  if wanted = 0 or contended then
    -- Most likely there is more than this dispatcher has taken. One that was woken with it, met its lock and found
    -- nothing sleeps again, and would go on sleeping while this one has its hands full. The same goes for a place under a
    -- limit that came free after this one had looked.
    perform millrace.wake();
  end if;
end $$;

-- Where claim looks, in this order.
create function millrace.places(except_queues jsonb, only_segment bigint) returns table (
  lane bigint, queue text, priority smallint, segment bigint, slot smallint, limited boolean, aged boolean
) language plpgsql as $$
#variable_conflict use_column
declare
  seed bigint := random() * 1e18;
begin
  return query
  select l.id, l.queue, l.priority, s.number, (s.number % 8)::smallint, l.limited, visit.aged
  from (
    select l.id, l.queue, l.priority, (q.max_running is not null or q.rate is not null) and only_segment is null as limited,
      -- Which queue draws the least goes first, with all of its lanes: its share is the same, however many have work.
      -ln(((hashtextextended(l.queue, seed) & 4503599627370495) + 1) / 4503599627370497.0::float8) / coalesce(q.weight, 1) as turn,
      hashint8extended(l.id, seed) as turn_in_queue,
      -- A lane whose head has waited for long is looked at as if it were of a better priority, and again as what it is.
      greatest(1, l.priority - coalesce(floor(extract(epoch from now() - h.waiting_since)
        / nullif((select value from millrace.setting where name = 'aging_seconds'), 0)), 0)) as aged_rank
    from (select distinct on (id) * from millrace.lane) l
    left join millrace.queue q on q.name = l.queue
    left join millrace.lane_head h on h.lane = l.id
    where (q.paused_at is null or only_segment is not null) and (except_queues is null or not except_queues ? l.queue)
  ) l
  cross join (values (false), (true)) visit (aged)
  cross join millrace.segment s
  where case when only_segment is null then not s.drained else s.number = only_segment end and (not visit.aged or l.aged_rank < l.priority)
  order by case when visit.aged then l.aged_rank else l.priority end, visit.aged desc, l.turn, l.turn_in_queue, l.id, s.number;
end $$;

-- Whether an attempt that no claim has passed is there to be claimed: neither ended nor claimed in an earlier segment. A
-- function of its own, so that claim need not prepare the look for every batch.
create function millrace.claimable(slot smallint, id bigint, attempt int) returns boolean language plpgsql stable as $$
begin
  return not exists (select from millrace.outcome_log o where o.slot = claimable.slot and o.id = claimable.id and o.attempt = claimable.attempt)
    and not exists (select from millrace.carried c where c.id = claimable.id and c.attempt = claimable.attempt);
end $$;

-- What is visible of other transactions. A snapshot does not list its own transaction as in progress; here it has to be,
-- since the transaction may go on to enqueue.
create function millrace.others_snapshot() returns pg_snapshot language plpgsql as $$
declare
  seen pg_snapshot := pg_current_snapshot();
  own xid8 := pg_current_xact_id_if_assigned();
begin
  if own < pg_snapshot_xmax(seen) then
    seen := format('%s:%s:%s', pg_snapshot_xmin(seen), pg_snapshot_xmax(seen),
      (select string_agg(xid::text, ',' order by xid) from (select pg_snapshot_xip(seen) union select own) open (xid)));
  end if;
  return seen;
end $$;
