-- Lists of jobs for operators, newest first by id. A page costs what it looks at, which is bounded whatever the history: where
-- the states asked for stand in a small or indexed place (deferred, dead letters, failed and cancelled ends, what is beyond the
-- lanes' cursors) it looks there, else it walks back by id over at most 20,000 jobs. Then the page may be short, or empty, and
-- carries a cursor all the same. Answers {items, cursor}; a null cursor: this was the last page.
--
-- filter: {state? (one or an array), kind?, queue?, tag?, ids?, unique_key?, tenant?, enqueued_after?, enqueued_before?}.
-- An item is a row without what may be large, see job_row, or all of the job.
create function millrace.list_jobs(filter jsonb, cursor text default null, max_jobs int default null, whole boolean default false) returns jsonb
language plpgsql as $$
declare
  part record;
begin
  perform millrace.check_filter(filter, array['state', 'kind', 'queue', 'tag', 'ids', 'unique_key', 'tenant', 'enqueued_after', 'enqueued_before']);
  if cursor !~ '^\d{1,18}$' or max_jobs < 1 then
    perform millrace.refuse_request('a cursor is what the page before answered, a limit at least 1');
  end if;
  perform millrace.hold_segments(); -- before the snapshot that all of the page is read with: TRUNCATE minds none
  select * into part from millrace.match_jobs(filter, cursor::bigint, least(coalesce(max_jobs, 100), 1000));
  return (
    select jsonb_build_object('cursor', part.cursor::text, 'items', coalesce(jsonb_agg(r.item order by u.nth) filter (where r.item is not null), '[]'))
    from unnest(part.ids) with ordinality u(id, nth)
    cross join lateral (select case when whole then millrace.job(u.id) else millrace.job_row(u.id) end as item) r);
end $$;

-- A job without what may be large.
create function millrace.job_row(job bigint) returns jsonb language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  n record;
  o record;
begin
  select * into n from millrace.newest(job_row.job);
  if n.id is null then
    return (
      select (select jsonb_object_agg(e.key, e.value) from jsonb_each(a.job) e where e.key = any (array['id', 'kind', 'queue', 'priority', 'state',
        'attempt', 'max_attempts', 'tags', 'unique_key', 'enqueued_at', 'run_at', 'finished_at', 'wait'])) || jsonb_build_object('error', a.job -> 'errors' -> -1)
      from millrace.archive a where a.id = job_row.job);
  end if;
  select * into o from millrace.outcome_log where slot = n.slot and id = n.id and attempt = n.attempt;
  return (
    select jsonb_build_object('id', n.id, 'kind', n.kind, 'queue', l.queue, 'priority', l.priority, 'state', n.state, 'attempt', n.attempt,
      'max_attempts', n.max_attempts, 'tags', coalesce(to_jsonb(n.tags), '[]'), 'unique_key', n.unique_key, 'enqueued_at', n.enqueued_at,
      'run_at', n.run_at, 'finished_at', coalesce(o.finished_at, n.finished_at),
      'wait', case n.state when 'waiting_external' then millrace.wait_of(n.id, n.attempt) end,
      'error', coalesce(jsonb_build_object('attempt', n.attempt, 'at', o.finished_at) || o.error, n.errors -> -1))
    from millrace.lane l where l.id = n.lane limit 1);
end $$;
