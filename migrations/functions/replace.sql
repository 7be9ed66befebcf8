-- Takes the attempt to come of a job that nobody has claimed out of deferred or of the log, so that enqueue can put another
-- one in its place (see unique.sql). Answers what stays of it: {attempt, enqueued_at, errors}, with the number of the attempt
-- that comes now; null when the job is not pending.
-- A claim that is on its way meanwhile may still run what was replaced: as if it had begun before. Its result is refused.
create function millrace.replace(job bigint) returns jsonb language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  old record;
begin
  loop -- again when it moved on between two looks: promoted, or closed by somebody else
    delete from millrace.deferred d where d.id = replace.job returning d.* into old;
    if found then
      return jsonb_build_object('attempt', old.attempt, 'enqueued_at', old.enqueued_at, 'errors', old.errors);
    end if;
    perform millrace.hold_segments(); -- not before: a deferred job has no segment, and the caller may go on for long
    select * into old from millrace.newest(job);
    if old.state = 'available' then
      insert into millrace.outcome_log (id, attempt, slot, state) values (old.id, old.attempt, old.slot, 's') on conflict do nothing;
      if found then
        perform millrace.withdraw(s.number) from millrace.segment s where (s.number % 8)::smallint = old.slot;
        return jsonb_build_object('attempt', old.attempt + 1, 'enqueued_at', old.enqueued_at, 'errors', old.errors);
      end if;
    elsif coalesce(old.state not in ('scheduled', 'retryable'), true) then
      return null;
    end if;
  end loop;
end $$;
