-- Leadership: a lease that one process holds at a time, by the database's clock. Its epoch grows with every change of hands,
-- and the leader's writes name it, so that one who was deposed without noticing is refused (docs/adr/0006-leader-lease.md).

-- Takes the lease when it is free or over, renews it when `holder` has it. Answers the epoch; null while somebody else leads.
-- Waits for nobody: while a leader's transaction is under way, its lease cannot be taken over, even if it is over.
create function millrace.lead(name text, holder text, seconds float8) returns bigint language plpgsql as $$
#variable_conflict use_column
declare
  held millrace.leader;
  ends timestamptz := clock_timestamp() + make_interval(secs => seconds);
begin
  insert into millrace.leader (name, holder, epoch, until) select lead.name, '', 0, '-infinity'
  where not exists (select from millrace.leader l where l.name = lead.name)
  on conflict do nothing;
  select * into held from millrace.leader l where l.name = lead.name;
  if held.holder = lead.holder and held.until > clock_timestamp() then
    -- Nearly as asked for is good enough: one who is told again and again writes now and then.
    if abs(extract(epoch from held.until - ends)) > seconds / 4 then
      update millrace.leader l set until = ends
      where l.name = lead.name and l.holder = lead.holder and l.epoch = held.epoch and l.until > clock_timestamp();
      return case when found then held.epoch end;
    end if;
    return held.epoch;
  end if;
  if held.until > clock_timestamp() then
    return null;
  end if;
  -- Stronger than what a renewal takes, and in conflict with require_leader.
  perform from millrace.leader l
  where l.name = lead.name and l.epoch = held.epoch and l.until <= clock_timestamp() for update skip locked;
  if not found then
    return null;
  end if;
  update millrace.leader l set holder = lead.holder, epoch = held.epoch + 1, until = ends where l.name = lead.name;
  return held.epoch + 1;
end $$;

-- Gives the lease up and tells those who sleep, so that one of them takes it. Answers whether `holder` had it.
create function millrace.resign(name text, holder text) returns boolean language plpgsql as $$
#variable_conflict use_column
begin
  update millrace.leader l set until = '-infinity'
  where l.name = resign.name and l.holder = resign.holder and l.until > clock_timestamp();
  if found then
    perform millrace.wake('leader');
    return true;
  end if;
  return false;
end $$;

-- What only the leader may do begins with this; without an epoch an operator does it by hand. The lock lasts as long as the transaction: until then nobody else becomes
-- leader, while renewals go on.
create function millrace.require_leader(epoch bigint) returns void language plpgsql as $$
#variable_conflict use_column
begin
  perform from millrace.leader l
  where l.name = 'maintenance' and l.epoch = require_leader.epoch and l.until > clock_timestamp() for key share;
  if not found and epoch is not null then
    raise exception 'millrace: epoch % is not the leader''s (any more)', epoch
      using errcode = 'object_not_in_prerequisite_state', constraint = 'not_leader';
  end if;
end $$;
