-- Moves up to `max_jobs` deferred jobs whose time has come into the log, and tells when the next one is due (null: none).
-- Jobs with a rate_key in a queue with a key_rate stand in line for their key first, in the order of their times.
create function millrace.promote(max_jobs int) returns table (promoted int, next_at timestamptz) language plpgsql
set jit = off as $$
#variable_conflict use_column
declare
  paced boolean := exists (select from millrace.queue where key_rate is not null) or exists (select from millrace.rate_bucket b where b.next_at is not null);
  due bigint[];
  lined_up bigint[] := '{}';
begin
  -- One at a time, or a job would be in line before an earlier one that somebody else is about to put there.
  if paced and not pg_try_advisory_xact_lock(7264, 0) then
    promoted := 0;
    next_at := clock_timestamp() + interval '100 ms';
    return next;
    return;
  end if;
  due := array(
    select d.id from millrace.deferred d where d.bucket is null and d.run_at <= now()
    order by d.run_at, d.id limit case when paced then (max_jobs + 1) / 2 else max_jobs end for update skip locked);
  if paced then
    lined_up := millrace.line_up(due);
    due := array(select unnest(due) except select unnest(lined_up));
    due := due || millrace.leave_line(max_jobs - cardinality(due));
  end if;
  with gone as (
    delete from millrace.deferred d where d.id = any (due) returning *
  )
  insert into millrace.job_log (id, lane, enqueued_at, attempt, max_attempts, slot, kind, payload, ready_at, tags, metadata, progress, errors, put_back, unique_key, unique_states, rate_key)
  select id, lane, enqueued_at, attempt, max_attempts, (select millrace.current_slot()), kind, payload, run_at, tags, metadata, progress, errors, put_back, unique_key, unique_states, rate_key
  from gone order by run_at, id;
  get diagnostics promoted = row_count;
  if promoted > 0 then
    perform millrace.wake();
  end if;
  next_at := millrace.next_due();
  if next_at <= now() and promoted = 0 and lined_up = '{}' then
    next_at := clock_timestamp() + interval '100 ms'; -- another transaction has what is due, and may take its time
  end if;
  return next;
end $$;

-- When promote has something to do next; null: nothing is deferred.
create function millrace.next_due() returns timestamptz language sql stable as $$
  select least(
    (select min(run_at) from millrace.deferred where bucket is null),
    (select min(next_at) from millrace.rate_bucket where next_at is not null))
$$;

-- Puts those of the given due jobs in line that have to go at the pace of their key; answers which. Whoever changes a line has
-- its bucket locked.
create function millrace.line_up(due bigint[]) returns bigint[] language sql as $$
  with keyed as materialized (
    select d.id, q.name as queue, d.rate_key as key
    from millrace.deferred d
    cross join lateral (select l.queue from millrace.lane l where l.id = d.lane limit 1) l
    join millrace.queue q on q.name = l.queue
    where d.id = any (due) and d.rate_key is not null and q.key_rate is not null
  ), bucket as (
    insert into millrace.rate_bucket as b (queue, key, free_at, next_at)
    select queue, key, now(), now() from (select distinct queue, key from keyed) k
    order by queue collate "C", key collate "C" -- so that promoters never wait for each other in a circle
    on conflict (queue, key) do update set next_at = coalesce(b.next_at, excluded.next_at)
    returning id, queue, key
  ), lined_up as (
    update millrace.deferred d set bucket = b.id from keyed k join bucket b using (queue, key) where d.id = k.id
    returning d.id
  )
  select coalesce(array_agg(id), '{}') from lined_up
$$;

-- Answers up to `most` jobs whose keys are free, and counts them; forgets keys that have been free for long. A line that
-- another promoter works on is left to it.
create function millrace.leave_line(most int) returns bigint[] language plpgsql as $$
#variable_conflict use_column
declare
  free bigint[] := array(
    select b.id from millrace.rate_bucket b where b.next_at <= now() order by b.next_at, b.id limit most for update skip locked);
  jobs bigint[] := '{}';
begin
  if free <> '{}' then
    with bucket as materialized (
      -- The n-th job from now (n = 0 ...) may go at base + (n - burst + 1) * step.
      select b.id, q.key_rate is null as unlimited, greatest(b.free_at, now()) as base, coalesce(1 / q.key_rate, 0) as step,
        coalesce(q.key_burst, ceil(q.key_rate), 1) as burst
      from unnest(free) with ordinality f(id, nth) join millrace.rate_bucket b on b.id = f.id left join millrace.queue q on q.name = b.queue
      order by f.nth
    ), job as materialized (
      select b.id as bucket, d.id
      from bucket b cross join lateral (
        select d.id from millrace.deferred d where d.bucket = b.id order by d.run_at, d.id
        limit case when b.unlimited then most
          else least(most, greatest(0, floor(b.burst + (extract(epoch from now() - b.base) + 0.000001) / b.step)))::int end
        for update skip locked) d
      limit most
    ), counted as (
      select b.*, (select count(*) from job j where j.bucket = b.id) as gone from bucket b
    ), kept as (
      update millrace.rate_bucket r set
        free_at = c.base + make_interval(secs => c.gone * c.step),
        next_at = case when (select count(*) from (select from millrace.deferred d where d.bucket = c.id limit c.gone + 1) waiting) > c.gone
          then c.base + make_interval(secs => (c.gone - c.burst + 1) * c.step) end
      from counted c where r.id = c.id
    )
    select coalesce(array_agg(id), '{}') into jobs from job;
  end if;
  delete from millrace.rate_bucket where id in (
    select id from millrace.rate_bucket where next_at is null and free_at < now() - interval '1 minute' limit 1000 for update skip locked);
  return jobs;
end $$;
