-- Dispatchers' rows: they register, say that they live, fall asleep, wake and sign off.

create function millrace.runtime_start(name text) returns bigint language sql as $$
  insert into millrace.runtime (name) values (name) returning id
$$;

-- Answers within how many seconds the next beat is due, a third of what makes a runtime lost; null when it was given up in
-- the meantime and must register anew.
create function millrace.runtime_beat(runtime bigint) returns float8 language sql as $$
  update millrace.runtime set seen_at = now() where id = runtime_beat.runtime
  returning (select value / 3.0 from millrace.setting where name = 'runtime_lost_seconds')::float8
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
