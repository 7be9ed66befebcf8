-- What operators do to queues, and what follows from a change of a queue's row, whoever makes it.

-- Nothing of the queue is claimed from now on. What runs goes on; jobs are enqueued, promoted and retried as ever. by: for the
-- queue's record; actor: see audit, `by` unless given.
create function millrace.pause_queue(name text, by text default null, actor text default null) returns void language plpgsql as $$
begin
  if length(name) not between 1 and 200 then
    perform millrace.refuse('invalid_queue', 1, null);
  end if;
  insert into millrace.queue as q (name, paused_at, paused_by) values (pause_queue.name, now(), by)
  on conflict on constraint queue_pkey do update set paused_at = excluded.paused_at, paused_by = excluded.paused_by where q.paused_at is null;
  perform millrace.audit(coalesce(actor, by), 'queue.pause', jsonb_build_object('queue', name, 'by', by)) where found;
end $$;

-- Answers whether the queue was paused.
create function millrace.resume_queue(name text, by text default null) returns boolean language plpgsql as $$
declare
  resumed boolean;
begin
  update millrace.queue q set paused_at = null, paused_by = null where q.name = resume_queue.name and q.paused_at is not null;
  resumed := found;
  perform millrace.audit(by, 'queue.resume', jsonb_build_object('queue', name)) where resumed;
  return resumed;
end $$;

-- Cancels up to `max_jobs` jobs of a queue that do not run: deferred and available ones, also those of a paused queue. Answers
-- how many, and whether there may be more. The cursors move past the available ones, so that nobody has to look at them again.
create function millrace.drain_queue(name text, max_jobs int default 1000, reason text default 'drained', by text default null)
returns table (cancelled int, more boolean) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set lock_timeout = '2s' as $$
#variable_conflict use_column
declare
  place record;
  step record;
  looked int;
begin
  perform millrace.hold_segments();
  select count(*) filter (where c.cancelled), count(*) into cancelled, looked from millrace.cancel(array(
    select d.id from millrace.deferred d where d.lane in (select l.id from millrace.lane l where l.queue = drain_queue.name)
    order by d.id limit max_jobs), reason) c;
  for place in
    select distinct l.id as lane, s.number as segment from millrace.lane l cross join millrace.segment s
    where l.queue = drain_queue.name and not s.drained order by l.id, s.number
  loop
    perform pg_advisory_xact_lock(place.lane);
    for window_nth in 1..2 loop -- what is left of the one that is open, and what came since
      exit when looked >= max_jobs;
      step := millrace.pass_over(place.segment, place.lane, max_jobs - looked, reason);
      looked := looked + step.passed;
      cancelled := cancelled + step.cancelled;
    end loop;
  end loop;
  more := looked >= max_jobs;
  perform millrace.audit(by, 'queue.drain', jsonb_build_object('queue', name, 'cancelled', cancelled, 'reason', reason)) where cancelled > 0;
  return next;
end $$;

-- Moves the cursor of a lane, whose lock the caller has, past up to `most` unclaimed jobs and cancels those. Answers how many
-- it has passed, and how many of them were not cancelled before. Like claim, it reads one window at a time.
create function millrace.pass_over(in_segment bigint, of_lane bigint, most int, reason text, out passed int, out cancelled int) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  in_slot smallint := in_segment % 8;
  c record;
  opened boolean;
  batch record;
begin
  select * into c from millrace.claim_log k where k.slot = in_slot and k.lane = of_lane order by k.n desc limit 1;
  opened := c.last_id is not null;
  if not opened then
    c.prev := coalesce(c.cur, '1:1:');
    c.cur := millrace.others_snapshot();
    c.last_xid := '0';
    c.last_id := 0;
  end if;
  select array_agg(w.id order by w.xid, w.id) as ids, array_agg(w.attempt order by w.xid, w.id) as attempts,
    (array_agg(w.xid order by w.xid, w.id))[most] as last_xid, (array_agg(w.id order by w.xid, w.id))[most] as last_id
  into batch from millrace.window_of(in_slot, of_lane, c.prev, c.cur, c.last_xid, c.last_id, most) w;
  passed := coalesce(cardinality(batch.ids), 0);
  -- Also when nothing is left of the window, so that the next look opens another.
  insert into millrace.claim_log (lane, n, runtime, last_xid, last_id, slot, prev, cur, ids, attempts, span)
  select of_lane, coalesce(c.n, 0) + 1, 0, batch.last_xid, batch.last_id, in_slot, c.prev, c.cur, '{}', '{}', 'empty'
  where passed > 0 or opened;
  select coalesce(array_agg(u.id), '{}') as ids, coalesce(array_agg(u.attempt), '{}') as attempts,
    array_fill(in_segment, array[count(*)::int]) as segments, array_fill('cancel'::text, array[count(*)::int]) as outcomes,
    jsonb_agg(jsonb_build_object('error', jsonb_build_object('code', 'cancelled', 'message', coalesce(reason, 'cancelled')))) as details
  into batch
  from unnest(batch.ids, batch.attempts) u(id, attempt)
  where not exists (select from millrace.carried d where d.id = u.id and d.attempt = u.attempt); -- those have been claimed
  select count(*) filter (where e.fresh) into cancelled
  from millrace.close(batch.segments, batch.ids, batch.attempts, batch.outcomes, batch.details) e;
end $$;

create function millrace.queue_before() returns trigger language plpgsql as $$
begin
  new.limited_since := case
    when new.max_running is null then null
    when tg_op = 'UPDATE' and old.max_running is not null then old.limited_since
    else clock_timestamp() end;
  return new;
end $$;
create trigger queue_before before insert or update on millrace.queue for each row execute function millrace.queue_before();

-- Jobs may be free to go: whoever sleeps looks again, and the lines of keys are worked out anew.
create function millrace.queue_after() returns trigger language plpgsql as $$
begin
  if (new.key_rate, new.key_burst) is distinct from (old.key_rate, old.key_burst) then
    update millrace.rate_bucket b set next_at = now() from (
      select id from millrace.rate_bucket where queue = new.name and next_at is not null
      order by key collate "C" for update -- the order in which promote locks them
    ) waiting where b.id = waiting.id;
  end if;
  perform millrace.wake();
  return null;
end $$;
create trigger queue_after after update on millrace.queue for each row execute function millrace.queue_after();
