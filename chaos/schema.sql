-- The chaos run's own books, in the database under attack: what was enqueued, and everything that becomes of it.
-- Triggers write them in the transactions that they are about, so that they hold what is committed, no more and no less.

create schema chaos;

-- Written by the producer, in the transaction that enqueues.
create table chaos.enqueued (
  token bigint primary key,
  job bigint not null,
  kind text not null
);
create index on chaos.enqueued (job);

-- Attempts to come, deferred or not.
create table chaos.entered (
  id bigint not null,
  attempt int not null,
  kind text not null,
  unique_key text,
  occasion text, -- of its schedule
  tenant text,
  follows jsonb, -- of a follow-up
  delivery jsonb, -- of a webhook: {endpoint, message, type, job, attempt}
  progress jsonb, -- of a job that waits for events
  at timestamptz not null default clock_timestamp()
);
create index on chaos.entered (id, attempt);

create table chaos.outcome (
  id bigint not null,
  attempt int not null,
  state "char" not null,
  result jsonb,
  error jsonb,
  at timestamptz not null default clock_timestamp()
);
create index on chaos.outcome (id, attempt);

-- Written by the operator, in the transactions that cancel and retry.
create table chaos.cancelled (
  job bigint not null
);
create table chaos.retried (
  job bigint not null
);

-- Attempts that wait: for a named event, or, without a name, for their callback. `sure`: it was open then, and had not waited before.
-- `missed`: an event was there for which it waits all the same.
create table chaos.waited (
  id bigint not null,
  attempt int not null,
  name text,
  sure boolean not null,
  missed boolean not null,
  at timestamptz not null default clock_timestamp()
);
create index on chaos.waited (id, attempt);

-- Events that nobody waited for yet; `missed`: somebody did.
create table chaos.kept (
  job bigint not null,
  nonce text,
  missed boolean not null
);

-- Dead letters.
create table chaos.buried (
  job bigint not null
);

create function chaos.note_entry() returns trigger language plpgsql as $$
begin
  insert into chaos.entered values (new.id, new.attempt, new.kind, new.unique_key, new.metadata -> 'schedule' ->> 'at',
    new.metadata ->> 'tenant', new.metadata -> 'follows',
    case when new.kind = 'millrace.webhook' then jsonb_build_object('endpoint', new.payload -> 'endpoint', 'message', new.payload -> 'message',
      'type', new.payload #> '{event,type}', 'job', new.payload #>> '{event,data,job_id}', 'attempt', new.payload #> '{event,data,attempt}') end,
    case when new.kind like 'waits%' then new.progress end);
  return null;
end $$;

create function chaos.note_outcome() returns trigger language plpgsql as $$
begin
  insert into chaos.outcome values (new.id, new.attempt, new.state, new.result, new.error);
  return null;
end $$;

create function chaos.note_wait() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' or (old.attempt, old.name) <> (new.attempt, new.name) then
    insert into chaos.waited values (new.id, new.attempt, new.name, true, exists (
      select from millrace.kept_event k where k.job = new.id and k.name = new.name and k.payload ->> 'ok' = 'true'));
  end if;
  return null;
end $$;

-- A wait for an event is parked in its own transaction: that is one and the same.
create function chaos.note_park() returns trigger language plpgsql as $$
begin
  insert into chaos.waited
  select u.id, u.attempt, null, w.id is null and not exists (
    select from millrace.outcome_log o where o.id = u.id and o.attempt = u.attempt), false
  from unnest(new.ids, new.attempts) u(id, attempt)
  left join millrace.wait w on w.id = u.id and w.attempt = u.attempt
  where not coalesce(w.xmin = pg_current_xact_id()::xid, false)
    and not exists (select from chaos.waited x where x.id = u.id and x.attempt = u.attempt and x.name is null);
  return null;
end $$;

create function chaos.note_kept() returns trigger language plpgsql as $$
begin
  insert into chaos.kept values (new.job, new.payload ->> 'nonce', exists (
    select from millrace.wait w where w.id = new.job and w.name = new.name));
  return null;
end $$;

create function chaos.note_burial() returns trigger language plpgsql as $$
begin
  insert into chaos.buried values (new.id);
  return null;
end $$;

create trigger chaos_entered after insert on millrace.job_log for each row execute function chaos.note_entry();
create trigger chaos_entered after insert on millrace.deferred for each row execute function chaos.note_entry();
create trigger chaos_outcome after insert on millrace.outcome_log for each row execute function chaos.note_outcome();
create trigger chaos_wait after insert or update on millrace.wait for each row execute function chaos.note_wait();
create trigger chaos_park after insert on millrace.park_log for each row execute function chaos.note_park();
create trigger chaos_kept after insert on millrace.kept_event for each row execute function chaos.note_kept();
create trigger chaos_buried after insert or update on millrace.dead_letter for each row execute function chaos.note_burial();

-- Everything happens soon.
update millrace.setting s set value = v.value from (values
  ('runtime_lost_seconds', 3),
  ('rotate_seconds', 4),
  ('retention_seconds', 5),
  ('failed_retention_seconds', 8),
  ('endpoint_disable_seconds', 10),
  ('webhook_max_attempts', 200),
  ('webhook_backoff_cap_seconds', 1)
) v(name, value) where s.name = v.name;
