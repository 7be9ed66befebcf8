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
  at timestamptz not null default clock_timestamp()
);
create index on chaos.entered (id, attempt);

create table chaos.outcome (
  id bigint not null,
  attempt int not null,
  state "char" not null,
  result jsonb,
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

create function chaos.note_entry() returns trigger language plpgsql as $$
begin
  insert into chaos.entered values (new.id, new.attempt, new.kind, new.unique_key, new.metadata -> 'schedule' ->> 'at');
  return null;
end $$;

create function chaos.note_outcome() returns trigger language plpgsql as $$
begin
  insert into chaos.outcome values (new.id, new.attempt, new.state, new.result);
  return null;
end $$;

create trigger chaos_entered after insert on millrace.job_log for each row execute function chaos.note_entry();
create trigger chaos_entered after insert on millrace.deferred for each row execute function chaos.note_entry();
create trigger chaos_outcome after insert on millrace.outcome_log for each row execute function chaos.note_outcome();

-- Everything happens soon.
update millrace.setting s set value = v.value from (values
  ('runtime_lost_seconds', 3),
  ('rotate_seconds', 4),
  ('retention_seconds', 5),
  ('failed_retention_seconds', 8),
  ('webhook_max_attempts', 200),
  ('webhook_backoff_cap_seconds', 1)
) v(name, value) where s.name = v.name;
