-- Cancels jobs that have not ended, wherever they stand, in the caller's transaction: what is deferred or available is not
-- claimed any more, what is running is told at its next heartbeat, and its result is refused. Answers for every job that
-- there is its state from now on, and whether this call has cancelled it. It is audited only if it says by whom: applications
-- cancel what is theirs.
create function millrace.cancel(ids bigint[], reason text default null, by text default null) returns table (id bigint, state text, cancelled boolean)
language plpgsql set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  open bigint[] := array(select distinct u from unnest(ids) u where u is not null order by u);
  done bigint[] := '{}';
  found record;
begin
  perform millrace.hold_segments();
  -- Again for those that moved on between the look and the close: promoted, or retried.
  while open <> '{}' loop
    with gone as (
      delete from millrace.deferred d using (
        select l.id from millrace.deferred l where l.id = any (open) order by l.id for update
      ) locked where d.id = locked.id
      returning d.*
    )
    insert into millrace.job_log (id, lane, enqueued_at, attempt, max_attempts, slot, kind, payload, ready_at, tags, metadata, progress,
      errors, put_back, unique_key, unique_states, rate_key)
    select id, lane, enqueued_at, attempt, max_attempts, (select millrace.current_slot()), kind, payload, run_at, tags, metadata, progress,
      errors, put_back, unique_key, unique_states, rate_key
    from gone order by id;

    select array_agg(s.number) as segments, array_agg(n.id) as ids, array_agg(n.attempt) as attempts,
      array_agg(distinct s.number) filter (where n.state = 'available') as unclaimed
    into found
    from unnest(open) u cross join lateral millrace.newest(u) n join millrace.segment s on (s.number % 8)::smallint = n.slot
    where n.state in ('available', 'running', 'waiting_external');
    exit when found.ids is null;
    perform millrace.withdraw(u) from unnest(found.unclaimed) u;
    select array_agg(found.ids[c.nth]) filter (where c.fresh) as cancelled,
      coalesce(array_agg(found.ids[c.nth]) filter (where not c.fresh), '{}') as again
    into found
    from millrace.close(found.segments, found.ids, found.attempts, array_fill('cancel'::text, array[cardinality(found.ids)]),
      (select jsonb_agg(jsonb_build_object('error', jsonb_build_object('code', 'cancelled', 'message', coalesce(reason, 'cancelled')))) from unnest(found.ids))) c;
    done := done || found.cancelled;
    open := found.again;
  end loop;
  -- Those in an emptied slot without a segment, into which a transaction with an old snapshot wrote them (see prune).
  with late as (
    insert into millrace.outcome_log (id, attempt, slot, state, error)
    select n.id, n.attempt, n.slot, 'x', jsonb_build_object('code', 'cancelled', 'message', coalesce(reason, 'cancelled'))
    from unnest(ids) u cross join lateral millrace.newest(u) n
    where n.state = 'available' and n.slot not in (select (s.number % 8)::smallint from millrace.segment s)
    on conflict do nothing returning slot, id, attempt
  )
  select array_agg(slot::bigint) as slots, array_agg(id) as ids, array_agg(attempt) as attempts into found from late;
  if found.ids is not null then
    done := done || found.ids;
    perform millrace.announce(found.slots, found.ids, found.attempts, array(select generate_series(1::bigint, cardinality(found.ids))));
  end if;
  if by is not null and done <> '{}' then
    perform millrace.audit(by, 'job.cancel', jsonb_build_object('ids', done, 'reason', reason));
  end if;
  return query
  select u.id, millrace.job_state(u.id), u.id = any (done)
  from (select distinct u as id from unnest(ids) u) u
  where millrace.job_state(u.id) is not null order by u.id;
end $$;
