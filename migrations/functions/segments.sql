-- Segments as the other verbs see them.

-- Keeps every segment where it is until the transaction ends: prune takes the same lock exclusively. Taken before anything
-- is read or written by way of a segment's slot.
create function millrace.hold_segments() returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(7261, 0);
  if current_setting('transaction_isolation') <> 'read committed' then
    -- Fails (40001) when a segment was emptied since the snapshot: its rows are gone for this transaction, and those that were
    -- carried elsewhere are not there yet.
    perform from millrace.segment for key share;
  end if;
end $$;

-- The segments in which these attempts are now, after their own was emptied.
create function millrace.follow(segments bigint[], ids bigint[], attempts int[]) returns bigint[] language sql stable as $$
  select array_agg(coalesce(c.segment, u.segment) order by u.nth)
  from unnest(segments, ids, attempts) with ordinality u(segment, id, attempt, nth)
  left join millrace.carried c on c.id = u.id and c.attempt = u.attempt
$$;

-- Tells claim that attempts of this segment have ended, or are open, without its doing. No unique row: nobody waits.
create function millrace.withdraw(segment bigint) returns void language sql as $$
  insert into millrace.withdrawn (segment)
  select withdraw.segment where not exists (select from millrace.withdrawn w where w.segment = withdraw.segment)
$$;

-- The first `most` jobs of a window of a lane, in the order of (xid, id): what is visible in `cur` but not in `prev`, beyond
-- (last_xid, last_id): rows of transactions that began after `prev`, and rows of those that were in progress then and have
-- committed since. Plain enough for the planner to inline it.
create function millrace.window_of(in_slot smallint, of_lane bigint, prev pg_snapshot, cur pg_snapshot, last_xid xid8, last_id bigint, most int)
returns setof millrace.job_log language sql stable as $$
  (select j.* from pg_snapshot_xip(prev) x cross join lateral ( -- one range of the index each, on every version
     select j.* from millrace.job_log j
     where j.slot = in_slot and j.lane = of_lane and j.xid = x
       and j.id > case when x = last_xid then last_id else -1 end
     order by j.id limit most) j
   where x >= last_xid and pg_visible_in_snapshot(x, cur)
   order by j.xid, j.id limit most)
  union all
  (select j.* from millrace.job_log j
   where j.slot = in_slot and j.lane = of_lane
     -- The only lower bound, so that the index scan starts there: not before the transactions that began after prev.
     and (j.xid, j.id) > (greatest(last_xid, pg_snapshot_xmax(prev)), case when last_xid >= pg_snapshot_xmax(prev) then last_id else -1 end)
     and j.xid < pg_snapshot_xmax(cur) and pg_visible_in_snapshot(j.xid, cur)
   order by j.xid, j.id limit most)
  order by xid, id limit most
$$;
