-- Dispatchers' rows: they register, say that they live, fall asleep, wake and sign off.

create function millrace.runtime_start(name text) returns bigint language sql as $$
  insert into millrace.runtime (name) values (name) returning id
$$;

-- False when the runtime was given up in the meantime: it must register anew.
create function millrace.runtime_beat(runtime bigint) returns boolean language sql as $$
  with beat as (update millrace.runtime set seen_at = now() where id = runtime_beat.runtime returning 1) select exists (select from beat)
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
