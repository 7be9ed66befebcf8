-- Transaction ids and snapshots mean nothing to a server that did not give them out: one into which a dump was restored.
-- Claim calls this when the server process is one it has not seen; where it turns out to be of another cluster, everything
-- that is open moves into a new segment, with transaction ids of this cluster, in one transaction, and the old segments stay as
-- history. Answers whether that was so.
create function millrace.attach() returns boolean language plpgsql set jit = off as $$
declare
  here bigint := (select system_identifier from pg_control_system());
  known bigint;
begin
  lock table millrace.cluster in share row exclusive mode;
  select identifier into known from millrace.cluster;
  if known is distinct from here and known is not null then
    perform millrace.rebase();
  end if;
  delete from millrace.cluster;
  insert into millrace.cluster (identifier, started_at) values (here, pg_postmaster_start_time());
  return coalesce(known <> here, false);
end $$;

create function millrace.rebase() returns void language plpgsql set jit = off as $$
#variable_conflict use_column
declare
  newest bigint := (select max(number) from millrace.segment);
  seen pg_snapshot;
  old record;
  open record;
begin
  perform pg_advisory_xact_lock(7261, 0);
  lock table millrace.segment in share row exclusive mode;
  if (select count(*) from millrace.segment) > 7 then
    raise exception 'millrace: no slot is free for the open jobs of a restored database'
      using errcode = 'object_not_in_prerequisite_state', hint = 'Let prune empty the oldest segment first: lower retention_seconds in the setting table.';
  end if;
  update millrace.segment set drained = true, opened_xid = null;
  insert into millrace.segment (number)
  select min(n) from millrace.segment s, generate_series(s.number + 1, s.number + 8) n
  where s.number = (select max(number) from millrace.segment) and n % 8 not in (select number % 8 from millrace.segment);
  seen := millrace.others_snapshot();
  for old in select (number % 8)::smallint as slot from millrace.segment where opened_xid is null order by number loop
    select array_agg(id) as ids, array_agg(attempt) as attempts, array_agg(claimed) as claimed into open from millrace.stragglers(old.slot);
    continue when open.ids is null;
    perform millrace.carry(old.slot, open.ids, open.attempts, open.claimed);
    delete from millrace.job_log j using unnest(open.ids, open.attempts) u(id, attempt)
    where j.slot = old.slot and j.id = u.id and j.attempt = u.attempt;
  end loop;
  perform millrace.await_late(newest, seen);
  delete from millrace.sweep;
  delete from millrace.lane_head;
  -- Whoever ran against the other cluster is not here; what it held is retried unless a callback comes first.
  update millrace.runtime set sleeping = false;
end $$;

-- Transactions that took a segment for the newest one write to it after rebase: claims go on there, beyond what was visible in
-- `seen`. What the other cluster left there has ended, and is withdrawn: its transaction ids may lie ahead.
create function millrace.await_late(in_segment bigint, seen pg_snapshot) returns void language plpgsql as $$
declare
  in_slot smallint := in_segment % 8;
begin
  update millrace.segment set drained = false, opened_xid = pg_current_xact_id() where number = in_segment;
  perform millrace.withdraw(in_segment);
  insert into millrace.claim_log (lane, n, runtime, slot, prev, cur, ids, attempts, span)
  select l.id, coalesce((select max(c.n) from millrace.claim_log c where c.slot = in_slot and c.lane = l.id), 0) + 1, 0, in_slot, '1:1:', seen, '{}', '{}', 'empty'
  from (select distinct id from millrace.lane) l;
end $$;
