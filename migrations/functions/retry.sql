-- Retries jobs that have failed or were cancelled, by an operator's word: a new attempt, numbered on, available at once and
-- with the kind's whole number of attempts before it. A job that waits for its retry runs now. Answers for every job given
-- its state from now on (null: unknown, or in the archive only), whether this call has retried it, and the code of what is
-- in the way: not_found, not_retryable, unique_conflict. by: see audit.
create function millrace.retry(ids bigint[], by text default null) returns table (id bigint, state text, retried boolean, problem text)
language plpgsql as $$
declare
  done bigint[] := '{}';
begin
  for id, state, retried, problem in select * from millrace.retry_jobs(ids) loop
    if retried then
      done := done || id;
    end if;
    return next;
  end loop;
  perform millrace.audit(by, 'job.retry', jsonb_build_object('ids', done)) where done <> '{}';
end $$;

create function millrace.retry_jobs(ids bigint[]) returns table (id bigint, state text, retried boolean, problem text)
language plpgsql set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  n record;
  slot smallint := millrace.current_slot();
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    -- It would not see the attempt that another one has made a moment ago, and make the same once more.
    raise exception 'millrace: retry needs a transaction in read committed' using errcode = 'object_not_in_prerequisite_state';
  end if;
  perform millrace.hold_segments();
  for id in select distinct u from unnest(ids) u where u is not null order by u loop
    perform pg_advisory_xact_lock(hashtextextended('retry', id)); -- two of us would both make the next attempt
    retried := false;
    problem := null;
    select * into n from millrace.newest(id);
    if n.id is null then
      problem := 'not_found';
    elsif n.state in ('scheduled', 'retryable') then
      update millrace.deferred d set run_at = now() where d.id = n.id and d.run_at > now();
      retried := found;
    elsif n.state not in ('failed', 'cancelled') then
      problem := 'not_retryable';
    elsif n.unique_key is not null and n.unique_states & (1 | 2 | 4 | 16 | 128) <> 0
      and millrace.hold_key(n.unique_key, n.id, n.unique_states) <> n.id then
      problem := 'unique_conflict';
    else
      delete from millrace.dead_letter d where d.id = n.id;
      if n.place = 'dead_letter' and not found then -- purged a moment ago
        problem := 'not_found';
        state := millrace.job_state(id);
        return next;
        continue;
      end if;
      with again as (
        select n.id, n.lane, n.enqueued_at, n.attempt + 1 as attempt, n.attempt + coalesce(k.max_attempts, s.value) as max_attempts, n.kind,
          n.payload, n.tags, n.metadata, n.progress, millrace.forgiven(case when n.place = 'dead_letter' then n.errors else coalesce(
            (select millrace.with_error(n.errors, n.attempt, o.error, o.finished_at) from millrace.outcome_log o
             where o.slot = n.slot and o.id = n.id and o.attempt = n.attempt), n.errors) end) as errors,
          n.unique_key, n.unique_states, n.rate_key, -- which promote minds
          n.rate_key is not null and exists (select from millrace.lane l join millrace.queue q on q.name = l.queue
            where l.id = n.lane and q.key_rate is not null) as paced
        from millrace.setting s left join millrace.kind k on k.name = n.kind
        where s.name = case n.kind when 'millrace' || '.webhook' then 'webhook_max_attempts' else 'default_max_attempts' end
      ), in_line as (
        insert into millrace.deferred (id, run_at, lane, enqueued_at, attempt, max_attempts, state, kind, payload, tags, metadata, progress,
          errors, unique_key, unique_states, rate_key)
        select id, now(), lane, enqueued_at, attempt, max_attempts, 'r', kind, payload, tags, metadata, progress,
          errors, unique_key, unique_states, rate_key
        from again where paced
      )
      insert into millrace.job_log (id, lane, enqueued_at, attempt, max_attempts, slot, kind, payload, ready_at, tags, metadata, progress,
        errors, unique_key, unique_states, rate_key)
      select id, lane, enqueued_at, attempt, max_attempts, slot, kind, payload, now(), tags, metadata, progress,
        errors, unique_key, unique_states, rate_key
      from again where not paced;
      retried := true;
    end if;
    state := millrace.job_state(id);
    return next;
  end loop;
  perform millrace.wake();
end $$;
