-- Moves up to `max_jobs` deferred jobs whose time has come into the log, and tells when the next one is due (null: none).
create function millrace.promote(max_jobs int) returns table (promoted int, next_at timestamptz) language plpgsql as $$
#variable_conflict use_column
begin
  with due as (
    delete from millrace.deferred d where d.id in (
      select id from millrace.deferred where run_at <= now() order by run_at, id limit max_jobs for update skip locked)
    returning *
  )
  insert into millrace.job_log (id, lane, enqueued_at, attempt, max_attempts, slot, kind, payload, ready_at, tags, metadata, progress, errors, put_back, unique_key, unique_states, rate_key)
  select id, lane, enqueued_at, attempt, max_attempts, (select millrace.current_slot()), kind, payload, run_at, tags, metadata, progress, errors, put_back, unique_key, unique_states, rate_key
  from due order by run_at, id;
  get diagnostics promoted = row_count;
  if promoted > 0 then
    perform millrace.wake();
  end if;
  select min(run_at) into next_at from millrace.deferred;
  return next;
end $$;
