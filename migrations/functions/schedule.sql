-- Firing schedules. Which occurrences are due is computed outside (core/schedule.ts); here they become jobs, each exactly
-- once, because done_to moves in the transaction that enqueues them and only from where the caller saw it.

-- What is due, by the database's clock, longest due first, and when the next of the others will be.
create function millrace.due_schedules(max_schedules int) returns jsonb language sql stable as $$
  select jsonb_build_object(
    'now', now(),
    'next_in_ms', (select extract(epoch from min(s.next_at) - now()) * 1000 from millrace.schedule s
      where s.paused_at is null and s.next_at > now() and isfinite(s.next_at)),
    'schedules', (select coalesce(jsonb_agg(to_jsonb(due)), '[]') from (
      select s.name, s.expression, s.timezone, s.missed, s.done_to from millrace.schedule s
      where s.paused_at is null and (s.next_at is null or s.next_at <= now())
      order by s.next_at nulls first, s.name limit max_schedules
    ) due))
$$;

-- Makes jobs of the occurrences, as the overlap policy allows, and moves the schedule on to `done_to`. Does nothing (stale)
-- when somebody else has moved, paused or changed it since `expected_done_to` was read. What enqueue refuses is put on record
-- and tried again later (failed), so that it neither holds up other schedules nor is lost.
-- Answers {state: fired | stale | failed, jobs, skipped, error}.
create function millrace.fire_schedule(
  name text, expected_done_to timestamptz, occurrences timestamptz[], done_to timestamptz, next_at timestamptz, epoch bigint default null
) returns jsonb language plpgsql as $$
#variable_conflict use_column
declare
  s millrace.schedule;
  times timestamptz[];
  jobs bigint[];
  code text;
  message text;
  left_out int;
begin
  if epoch is not null then
    perform millrace.require_leader(epoch);
  end if;
  select * into s from millrace.schedule x
  where x.name = fire_schedule.name and x.done_to is not distinct from expected_done_to and x.paused_at is null for update;
  if not found then
    return jsonb_build_object('state', 'stale');
  end if;
  begin
    times := millrace.without_overlap(s, occurrences);
    jobs := millrace.schedule_jobs(s, times);
  exception when others then
    get stacked diagnostics code = constraint_name, message = message_text;
    return millrace.fail_schedule(fire_schedule.name, expected_done_to, coalesce(nullif(code, ''), sqlstate), message);
  end;
  left_out := cardinality(occurrences) - cardinality(times);
  update millrace.schedule x
  set done_to = greatest(x.done_to, fire_schedule.done_to), next_at = coalesce(fire_schedule.next_at, 'infinity'), error = null,
    skipped = x.skipped + left_out,
    last_at = coalesce(times[cardinality(times)], x.last_at), last_job = coalesce(jobs[cardinality(jobs)], x.last_job)
  where x.name = fire_schedule.name;
  return jsonb_build_object('state', 'fired', 'jobs', to_jsonb(jobs), 'skipped', left_out);
end $$;

-- Which of the occurrences become jobs, given the job of the last one; cancels that one where the policy says so.
create function millrace.without_overlap(s millrace.schedule, occurrences timestamptz[]) returns timestamptz[] language plpgsql as $$
declare
  is_open boolean;
begin
  if s.overlap = 'allow' or occurrences = '{}' then
    return occurrences;
  end if;
  is_open := coalesce(millrace.job_state(s.last_job), 'completed') not in ('completed', 'failed', 'cancelled');
  if s.overlap = 'skip' then
    return case when is_open then '{}' else occurrences[1:1] end;
  end if;
  if is_open then
    perform millrace.cancel(array[s.last_job], 'the next occurrence of its schedule has come');
  end if;
  return occurrences[cardinality(occurrences):];
end $$;

-- One job for each time, which it is told in its metadata and, if the schedule names one, in a field of its arguments.
create function millrace.schedule_jobs(s millrace.schedule, times timestamptz[], note jsonb default '{}') returns bigint[] language plpgsql as $$
declare
  jobs jsonb;
begin
  if times = '{}' then
    return '{}';
  end if;
  select jsonb_agg(jsonb_build_object(
      'kind', s.kind,
      'args', case when s.time_arg is null then s.args else s.args || jsonb_build_object(s.time_arg, t.iso) end,
      'metadata', coalesce(s.metadata, '{}') || jsonb_build_object('schedule', jsonb_build_object('name', s.name, 'at', t.iso) || note))
    || jsonb_strip_nulls(jsonb_build_object('queue', s.queue, 'priority', s.priority, 'max_attempts', s.max_attempts, 'tags', s.tags))
    order by t.nth)
  into jobs
  from (select nth, to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as iso from unnest(times) with ordinality u(at, nth)) t;
  return array(select id from millrace.enqueue_many(jobs) with ordinality e(id, n) order by n);
end $$;

-- Puts on record why a schedule could not be fired, and when it is tried again: after 5 s, then twice as long each time, up
-- to an hour. It stays due, so nothing is lost but what its policy for missed occurrences drops.
create function millrace.fail_schedule(
  name text, expected_done_to timestamptz, code text, message text, epoch bigint default null
) returns jsonb language plpgsql as $$
#variable_conflict use_column
declare
  noted millrace.schedule;
begin
  if epoch is not null then
    perform millrace.require_leader(epoch);
  end if;
  update millrace.schedule x
  set error = jsonb_build_object('code', fail_schedule.code, 'message', fail_schedule.message,
      'since', coalesce(x.error -> 'since', to_jsonb(now())), 'tries', coalesce((x.error ->> 'tries')::int, 0) + 1),
    next_at = now() + interval '1 second' * least(3600, 5 * 2 ^ least(20, coalesce((x.error ->> 'tries')::int, 0)))
  where x.name = fail_schedule.name and x.done_to is not distinct from expected_done_to and x.paused_at is null
  returning * into noted;
  if noted.name is null then
    return jsonb_build_object('state', 'stale');
  end if;
  return jsonb_build_object('state', 'failed', 'error', noted.error, 'retry_in_ms', extract(epoch from noted.next_at - now()) * 1000);
end $$;

-- Stops a schedule from firing. Null: there is no such schedule; false: it was paused before, and stays as it was.
-- actor: see audit, `paused_by` unless given.
create function millrace.pause_schedule(name text, paused_by text default null, actor text default null) returns boolean language plpgsql as $$
#variable_conflict use_column
begin
  update millrace.schedule x set paused_at = now(), paused_by = pause_schedule.paused_by
  where x.name = pause_schedule.name and x.paused_at is null;
  if found then
    perform millrace.audit(coalesce(actor, pause_schedule.paused_by), 'schedule.pause',
      jsonb_build_object('schedule', pause_schedule.name, 'by', pause_schedule.paused_by));
    return true;
  end if;
  return (select false from millrace.schedule x where x.name = pause_schedule.name);
end $$;

-- Lets a schedule fire again, from now on: what was due in the meantime is not made up for. Null: there is no such schedule;
-- false: it was not paused.
create function millrace.resume_schedule(name text, by text default null) returns boolean language plpgsql as $$
#variable_conflict use_column
begin
  update millrace.schedule x
  set paused_at = null, paused_by = null, next_at = null, error = null,
    done_to = greatest(clock_timestamp(), x.done_to + interval '1 microsecond') -- moves, so that what was read before is stale
  where x.name = resume_schedule.name and x.paused_at is not null;
  if found then
    perform millrace.audit(by, 'schedule.resume', jsonb_build_object('schedule', resume_schedule.name));
    perform pg_notify('millrace_wake', 'schedules');
    return true;
  end if;
  return (select false from millrace.schedule x where x.name = resume_schedule.name);
end $$;

-- Enqueues a job of the schedule at once, even if it is paused or the last one is open. The schedule itself does not move.
-- Answers the job's id; null when there is no such schedule.
create function millrace.trigger_schedule(name text, by text default null) returns bigint language plpgsql as $$
declare
  made bigint := (select (millrace.schedule_jobs(s, array[now()], '{"triggered": true}'))[1] from millrace.schedule s where s.name = trigger_schedule.name);
begin
  perform millrace.audit(by, 'schedule.trigger', jsonb_build_object('schedule', name, 'job', made)) where made is not null;
  return made;
end $$;

-- Every schedule, as it is on record, in the order of their names.
create function millrace.list_schedules() returns setof jsonb language sql stable as $$
  select to_jsonb(s) from millrace.schedule s order by s.name
$$;
