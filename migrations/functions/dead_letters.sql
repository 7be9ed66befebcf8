-- Dead letters for operators: lists, last died first, retry and purge by filter, how many there are.
--
-- filter: {queue?, kind?, reason?, tag?, tenant?, ids?}. A call looks at no more than 20,000 dead letters, so a page may be short, or
-- empty, and carries a cursor all the same; a null cursor: that was the last one.

create function millrace.list_dead_letters(filter jsonb, cursor text default null, max_letters int default null) returns jsonb
language plpgsql as $$
declare
  part record;
begin
  perform millrace.check_filter(filter, array['queue', 'kind', 'reason', 'tag', 'tenant', 'ids']);
  select * into part from millrace.match_dead_letters(filter, cursor, least(coalesce(max_letters, 100), 1000));
  return (
    select jsonb_build_object('cursor', part.cursor, 'items', coalesce(jsonb_agg(millrace.dead_letter_row(d) order by u.nth), '[]'))
    from unnest(part.ids) with ordinality u(id, nth) join millrace.dead_letter d on d.id = u.id);
end $$;

create function millrace.dead_letter_detail(id bigint) returns jsonb language sql stable as $$
  select millrace.dead_letter_row(d) || jsonb_build_object('args', d.payload, 'metadata', coalesce(d.metadata, '{}'), 'progress', d.progress,
    'errors', coalesce(d.errors, '[]'))
  from millrace.dead_letter d where d.id = dead_letter_detail.id
$$;

-- A dead letter without what may be large.
create function millrace.dead_letter_row(d millrace.dead_letter) returns jsonb language sql stable as $$
  select jsonb_build_object('id', d.id, 'kind', d.kind, 'queue', l.queue, 'priority', l.priority, 'reason', d.reason, 'attempt', d.attempt,
    'max_attempts', d.max_attempts, 'tags', coalesce(to_jsonb(d.tags), '[]'), 'unique_key', d.unique_key, 'enqueued_at', d.enqueued_at,
    'died_at', d.died_at, 'expires_at', d.expires_at, 'error', d.errors -> -1)
  from (select * from millrace.lane x where x.id = d.lane limit 1) l
$$;

-- Retries up to `max_letters` of them, in the given queue and priority or where they were. Answers {retried, refused: [{id,
-- problem}], cursor}.
create function millrace.retry_dead_letters(filter jsonb, cursor text, max_letters int, queue text default null, priority int default null,
  by text default null) returns jsonb language plpgsql as $$
declare
  part record;
  answer jsonb;
begin
  perform millrace.check_bulk_filter(filter, array['queue', 'kind', 'reason', 'tag', 'tenant', 'ids', 'all']);
  perform millrace.hold_segments();
  select * into part from millrace.match_dead_letters(filter, retry_dead_letters.cursor, max_letters);
  select jsonb_build_object('cursor', part.cursor, 'retried', count(*) filter (where r.retried),
    'refused', coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'problem', r.problem)) filter (where r.problem is not null), '[]'))
  into answer from millrace.retry_jobs(part.ids) r;
  if queue is not null or priority is not null then
    perform millrace.move_jobs(part.ids, queue, priority);
  end if;
  perform millrace.audit(by, 'dead_letter.retry', jsonb_build_object('filter', filter, 'retried', answer -> 'retried', 'queue', queue, 'priority', priority,
    'ids', part.ids)) where (answer ->> 'retried')::int > 0;
  return answer;
end $$;

-- Deletes up to `max_letters` of them, for good. Answers {purged, cursor}.
create function millrace.purge_dead_letters(filter jsonb, cursor text, max_letters int, by text default null) returns jsonb language plpgsql as $$
declare
  part record;
  purged int;
begin
  perform millrace.check_bulk_filter(filter, array['queue', 'kind', 'reason', 'tag', 'tenant', 'ids', 'all']);
  select * into part from millrace.match_dead_letters(filter, purge_dead_letters.cursor, max_letters);
  delete from millrace.dead_letter d where d.id = any (part.ids);
  get diagnostics purged = row_count;
  perform millrace.forget_events(part.ids);
  perform millrace.audit(by, 'dead_letter.purge', jsonb_build_object('filter', filter, 'purged', purged, 'ids', part.ids)) where purged > 0;
  return jsonb_build_object('cursor', part.cursor, 'purged', purged);
end $$;

-- How many there are by queue, counted up to 100,000: {total, lower_bound, queues: [{queue, count, oldest_died_at}]}.
create function millrace.dead_letter_depth() returns jsonb language sql stable set jit = off as $$
  with counted as (
    select l.queue, sum(d.count)::int as count, min(d.oldest) as oldest
    from (
      select x.lane, count(*) as count, min(x.died_at) as oldest
      from (select y.lane, y.died_at from millrace.dead_letter y limit 100000) x group by x.lane
    ) d
    cross join lateral (select * from millrace.lane x where x.id = d.lane limit 1) l
    group by l.queue
  )
  select jsonb_build_object('total', coalesce(sum(count), 0), 'lower_bound', coalesce(sum(count), 0) >= 100000
      and exists (select from millrace.dead_letter offset 100000),
    'queues', coalesce(jsonb_agg(jsonb_build_object('queue', queue, 'count', count, 'oldest_died_at', oldest) order by queue), '[]'))
  from counted
$$;

-- The ids of up to `max_letters` dead letters after the cursor that match, last died first, and the next cursor: microseconds
-- since 1970 and an id.
create function millrace.match_dead_letters(filter jsonb, inout cursor text, max_letters int, looks int default 20000, out ids bigint[])
language plpgsql stable set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  lanes bigint[] := case when filter ->> 'queue' is not null then array(select l.id from millrace.lane l where l.queue = filter ->> 'queue') end;
  known bigint[] := case when filter ->> 'ids' is not null then array(select i.id::bigint from jsonb_array_elements_text(filter -> 'ids') i(id)) end;
  before timestamptz := 'infinity';
  before_id bigint := 0;
  d record;
begin
  if cursor !~ '^\d{1,18}\.\d{1,18}$' or max_letters < 1 then
    perform millrace.refuse_request('a cursor is what the page before answered, a limit at least 1');
  elsif cursor is not null then
    before := timestamptz 'epoch' + split_part(cursor, '.', 1)::bigint * interval '1 microsecond';
    before_id := split_part(cursor, '.', 2);
  end if;
  ids := '{}';
  cursor := null;
  for d in
    select d.id, d.died_at, millrace.fits(filter, lanes, d.lane, d.kind, d.tags, d.metadata, d.enqueued_at)
      and (filter ->> 'reason' is null or d.reason = filter ->> 'reason') as fits
    from (
      (select * from millrace.dead_letter d where known is null and (d.died_at, d.id) < (before, before_id) order by d.died_at desc, d.id desc limit looks)
      union all
      select * from millrace.dead_letter d where d.id = any (known) and (d.died_at, d.id) < (before, before_id)
    ) d
    order by d.died_at desc, d.id desc
  loop
    looks := looks - 1;
    if d.fits then
      ids := ids || d.id;
    end if;
    if looks = 0 or cardinality(ids) = max_letters then
      cursor := (extract(epoch from d.died_at) * 1000000)::bigint || '.' || d.id;
      return;
    end if;
  end loop;
end $$;
