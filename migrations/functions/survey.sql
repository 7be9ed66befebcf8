-- Looks over all lanes: marks sealed segments in which nothing is left to be claimed, so that claim need not look there, and
-- notes since when the lanes of lower priorities have been waiting. Answers how much of that has changed.
create function millrace.survey(epoch bigint default null) returns int language plpgsql
set jit = off as $$
#variable_conflict use_column
declare
  changes int;
begin
  perform millrace.require_leader(epoch) where epoch is not null;
  perform millrace.hold_segments();
  with head as materialized (
    select l.id as lane, l.priority, s.number, millrace.head(l.id, (s.number % 8)::smallint) as waiting_since
    from (select distinct on (id) id, priority from millrace.lane) l cross join millrace.segment s where s.opened_xid is not null
  ), sealed as (
    select s.number, not exists (select from head h where h.number = s.number and h.waiting_since is not null)
      -- Everybody who may have seen it as the newest has ended, or takes very long; should one of them write later, it is
      -- found here and looked into again.
      and (pg_snapshot_xmin(pg_current_snapshot()) > next.opened_xid
        or next.opened_at < now() - make_interval(secs => least(600, (select value from millrace.setting where name = 'retention_seconds')))) as drained
    from millrace.segment s join millrace.segment next on next.number = (select min(n.number) from millrace.segment n where n.number > s.number)
    where s.opened_xid is not null and next.opened_xid is not null
  ), marked as (
    update millrace.segment s set drained = d.drained from sealed d where s.number = d.number and s.drained <> d.drained returning 1
  ), waiting as (
    select lane, min(waiting_since) as since from head where priority > 1 group by lane
  ), gone as (
    delete from millrace.lane_head h using waiting w where h.lane = w.lane and w.since is null returning 1
  ), noted as (
    insert into millrace.lane_head as h (lane, waiting_since) select lane, since from waiting where since is not null
    on conflict (lane) do update set waiting_since = excluded.waiting_since where h.waiting_since <> excluded.waiting_since returning 1
  )
  select (select count(*) from marked) + (select count(*) from gone) + (select count(*) from noted) into changes;
  return changes;
end $$;

-- Since when the first unclaimed job of a lane in a slot has been waiting; null: there is none.
create function millrace.head(of_lane bigint, in_slot smallint) returns timestamptz language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  c record;
  since timestamptz;
begin
  select * into c from millrace.claim_log k where k.slot = in_slot and k.lane = of_lane order by k.n desc limit 1;
  if c.last_id is not null then
    select coalesce(w.ready_at, w.enqueued_at) into since from millrace.window_of(in_slot, of_lane, c.prev, c.cur, c.last_xid, c.last_id, 1) w;
    if found then
      return since;
    end if;
  end if;
  return (select coalesce(w.ready_at, w.enqueued_at)
    from millrace.window_of(in_slot, of_lane, coalesce(c.cur, '1:1:'), pg_current_snapshot(), '0', 0, 1) w);
end $$;
