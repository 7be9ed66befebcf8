-- Dispatchers' rows: they register, say that they live, fall asleep, wake and sign off.

create function millrace.runtime_start(name text) returns bigint language sql as $$
  insert into millrace.runtime (name, lost_at)
  select runtime_start.name, now() + make_interval(secs => value) from millrace.setting where setting.name = 'runtime_lost_seconds'
  returning id
$$;

-- Says that a runtime lives, and will say so again within `every_seconds` (null: a third of what makes one lost, which is
-- what one with jobs in hand should say). Answers within how many seconds the next beat is due; null when it was given up in
-- the meantime and must register anew.
create function millrace.runtime_beat(runtime bigint, every_seconds float8 default null) returns float8 language sql as $$
  update millrace.runtime set seen_at = now(),
    lost_at = now() + make_interval(secs => greatest(s.value, 3 * coalesce(every_seconds, 0)))
  from millrace.setting s
  where id = runtime_beat.runtime and s.name = 'runtime_lost_seconds'
  returning coalesce(every_seconds, s.value / 3.0)::float8
$$;

-- Another one looks for work that came while this one had its last look.
create function millrace.runtime_stop(runtime bigint) returns void language sql as $$
  delete from millrace.runtime where id = runtime_stop.runtime;
  select millrace.wake()
$$;

-- Raises or lowers the flag that asks enqueue for notifications. After raising it a dispatcher may sleep only once
-- quiet() says so: any transaction that has not seen the flag had its id before sleep_horizon() gave out a later one.
create function millrace.runtime_sleep(runtime bigint, sleeping boolean) returns void language sql as $$
  update millrace.runtime set sleeping = runtime_sleep.sleeping, seen_at = now() where id = runtime_sleep.runtime
$$;

create function millrace.sleep_horizon() returns text language sql as $$
  select pg_current_xact_id()::text
$$;

create function millrace.quiet(horizon text) returns boolean language sql as $$
  select pg_snapshot_xmin(pg_current_snapshot()) > horizon::xid8
$$;
