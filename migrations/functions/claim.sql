-- Claims up to `max_jobs` jobs for a dispatcher, from all queues but `except_queues` (a JSON array): lanes of the first
-- priority first, in each lane the oldest segment first and then in the order of (xid, id). The claim is on record,
-- durably, before the caller sees a job.
--
-- A lane's cursor is its newest claim_log row. Its window is what is visible in `cur` but not in `prev`: rows of
-- transactions that began after `prev`, and rows of those that were in progress then and have committed since. When a
-- window is used up the next one opens from `cur` to now. So a transaction that stays open delays only its own jobs.
create function millrace.claim(runtime bigint, max_jobs int, except_queues jsonb default null)
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
  from_xid xid8; -- the same, but not before the transactions that began after prev
  from_id bigint;
  wanted int := max_jobs;
  got int;
begin
  for place in
    select l.id as lane, l.queue, l.priority, s.number as segment, (s.number % 8)::smallint as slot
    from (select distinct on (id) id, queue, priority, random() as turn from millrace.lane) l cross join millrace.segment s
    where except_queues is null or not except_queues ? l.queue
    order by l.priority, l.turn, s.number
  loop
    continue when not pg_try_advisory_xact_lock(place.lane);
    select c.n, c.prev, c.cur, c.last_xid, c.last_id, -- and whether anything is beyond that
      exists (select from millrace.job_log j where j.slot = place.slot and j.lane = place.lane
        and j.xid >= coalesce(pg_snapshot_xmax(c.cur), '0'))
      or exists (select from millrace.job_log j where j.slot = place.slot and j.lane = place.lane
        and j.xid = any (array(select x from pg_snapshot_xip(c.cur) x where pg_visible_in_snapshot(x, pg_current_snapshot())))) as more
    into newest
    from (values (1)) always left join lateral (
      select * from millrace.claim_log k where k.slot = place.slot and k.lane = place.lane order by k.n desc limit 1
    ) c on true;
    continue when newest.last_id is null and not newest.more;
    for pass in 1..2 loop
      if pass = 1 then
        continue when newest.last_id is null;
        prev := newest.prev; cur := newest.cur; last_xid := newest.last_xid; last_id := newest.last_id;
      else
        prev := coalesce(newest.cur, '1:1:'); cur := millrace.others_snapshot(); last_xid := '0'; last_id := 0;
      end if;
      from_xid := greatest(last_xid, pg_snapshot_xmax(prev));
      from_id := case when from_xid > last_xid then -1 else last_id end;
      return query
      with batch as materialized (
        (select j.* from pg_snapshot_xip(prev) x cross join lateral ( -- one range of the index each, on every version
           select j.* from millrace.job_log j
           where j.slot = place.slot and j.lane = place.lane and j.xid = x
             and j.id > case when x = last_xid then last_id else -1 end
           order by j.id limit wanted) j
         where x >= last_xid and pg_visible_in_snapshot(x, cur)
         order by j.xid, j.id limit wanted)
        union all
        (select j.* from millrace.job_log j
         where j.slot = place.slot and j.lane = place.lane
           and (j.xid, j.id) > (from_xid, from_id) -- the only lower bound, so that the index scan starts there
           and j.xid < pg_snapshot_xmax(cur) and pg_visible_in_snapshot(j.xid, cur)
         order by j.xid, j.id limit wanted)
        order by xid, id limit wanted
      ), total as (
        select count(*) as jobs, array_agg(id) as ids, array_agg(attempt) as attempts, int8range(min(id), max(id), '[]') as span from batch
      ), claimed as (
        insert into millrace.claim_log (lane, n, runtime, last_xid, last_id, slot, prev, cur, ids, attempts, span)
        select place.lane, coalesce(newest.n, 0) + 1, claim.runtime, edge.xid, edge.id, place.slot, prev, cur, t.ids, t.attempts, t.span
        from total t
        left join (select xid, id from batch offset wanted - 1) edge on true -- none when the window is used up
        where t.jobs > 0
      )
      select place.segment, b.id, b.attempt, b.max_attempts, b.kind, place.queue, place.priority,
        b.payload::text, b.metadata::text, b.progress::text, b.enqueued_at
      from batch b;
      get diagnostics got = row_count;
      wanted := wanted - got;
      exit when got > 0;
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
  if wanted = 0 then
    -- Most likely there is more than this dispatcher has taken. One that was woken with it, met its lock and found
    -- nothing sleeps again, and would go on sleeping while this one has its hands full.
    perform millrace.wake();
  end if;
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
