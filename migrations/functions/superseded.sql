-- The part of close that minds unique keys. A job whose key is not held in the state it leaves, but in the one it is about
-- to enter, may find that a newer job has taken the key meanwhile: then it ends as cancelled instead.
create function millrace.superseded(segments bigint[], ids bigint[], attempts int[], verdicts "char"[]) returns "char"[] language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  again record;
begin
  for again in
    select u.nth, j.id, j.unique_key as key, j.unique_states as states
    from unnest(segments, ids, attempts, verdicts) with ordinality u(segment, id, attempt, verdict, nth)
    join millrace.job_log j on j.slot = (u.segment % 8)::smallint and j.id = u.id and j.attempt = u.attempt
    where u.verdict in ('r', 's') and j.unique_key is not null
      and j.unique_states & (4 | 128) <> (4 | 128) -- running and waiting_external hold it: it was never free
      and j.unique_states & (1 | 2 | 16) <> 0 -- it goes on as scheduled, available or retryable
    order by j.unique_key collate "C", j.id -- as in take_keys
  loop
    if millrace.hold_key(again.key, again.id, again.states) <> again.id then
      verdicts[again.nth] := 'x';
    end if;
  end loop;
  return verdicts;
end $$;
