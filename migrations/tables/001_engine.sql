-- The storage engine: an append-only log with snapshot cursors (docs/adr/0001-snapshot-cursor-log.md).
-- `millrace.` stands for the schema wherever it appears; the migration runner puts the real name there.

-- Settings -------------------------------------------------------------------------------------------------------

-- The one table of engine defaults. Change a row to change the rule.
create table millrace.setting (
  name text primary key,
  value bigint not null,
  note text not null
);
insert into millrace.setting values
  ('default_priority', 2, 'priority of a job when neither the call nor its kind names one'),
  ('default_max_attempts', 25, 'attempts of a job when neither the call nor its kind names a number'),
  ('payload_limit_bytes', 1048576, 'largest args, and largest metadata, of a job as JSON text'),
  ('put_back_limit_seconds', 86400, 'how long a job may be put back (throttled, undeclared kind) before it counts as a failed attempt'),
  ('result_limit_bytes', 1048576, 'largest result of a job as JSON text; a larger one is not kept'),
  ('runtime_lost_seconds', 45, 'silence after which a dispatcher counts as dead and its open attempts are retried'),
  ('rotate_seconds', 14400, 'age at which a segment is sealed and the next one opened'),
  ('rotate_bytes', 1073741824, 'size at which a segment is sealed earlier'),
  ('retention_seconds', 86400, 'how long a finished job stays readable, unless its queue says otherwise'),
  ('failed_retention_seconds', 259200, 'the same for a failed job that has no dead letter'),
  ('dead_letter_retention_seconds', 2592000, 'how long a dead letter is kept, unless its queue says otherwise'),
  ('aging_seconds', 60, 'a job that waits for that long is served as if its priority were one better; 0: never'),
  ('webhook_max_attempts', 12, 'attempts of a webhook delivery'),
  ('webhook_backoff_cap_seconds', 86400, 'longest wait between two attempts of a webhook delivery'),
  ('endpoint_disable_seconds', 432000, 'an endpoint to which nothing has got through for so long is disabled'),
  ('delivery_retention_seconds', 2592000, 'how long the log of deliveries, and of follow-ups that failed, is kept'),
  ('events_limit_bytes', 2097152, 'largest size of all the events of a job together, as JSON text'),
  ('kept_events_limit', 100, 'events that are kept for a job before it waits for them'),
  ('audit_retention_seconds', 31536000, 'how long operator actions stay on record');

-- Segments -------------------------------------------------------------------------------------------------------

-- The segments in use; the newest is where new work goes. A segment lives in slot `number % 8`, is sealed by the opening of
-- the next one, and is taken off this list when its slot is emptied.
create table millrace.segment (
  number bigint primary key,
  opened_at timestamptz not null default now(),
  opened_xid xid8 default pg_current_xact_id(), -- null: opened in another cluster, kept as history only (see attach.sql)
  drained boolean not null default false -- nothing is left to be claimed, so claim does not look
);
insert into millrace.segment (number) values (0);

-- Lanes ----------------------------------------------------------------------------------------------------------

-- One lane per (queue, priority, shard). The id is a hash of the three, so that two transactions that use a new queue
-- for the first time agree on it without waiting for each other; the row may therefore stand here more than once.
create table millrace.lane (
  id bigint not null,
  queue text not null,
  priority smallint not null,
  shard smallint not null default 0
);
create index lane_by_name on millrace.lane (queue, priority, shard);
create index lane_by_id on millrace.lane (id);

-- The logs: rows are inserted and, a segment at a time, truncated; never updated, never deleted ----------------------

create sequence millrace.job_id;

-- One row per attempt to come.
create table millrace.job_log (
  id bigint not null,
  xid xid8 not null default pg_current_xact_id(),
  lane bigint not null,
  enqueued_at timestamptz not null default now(), -- the job's, the same for all its attempts
  attempt int not null default 1,                 -- the fence is on (id, attempt); only ever grows
  max_attempts int not null,                      -- the attempt after which the job gives up
  slot smallint not null,
  kind text not null,
  payload jsonb not null,
  ready_at timestamptz,                           -- when this attempt became available, if later than enqueued_at
  tags text[],
  metadata jsonb,
  progress jsonb,                                 -- the last attempt's, with its checkpoint
  errors jsonb,                                   -- of earlier attempts, oldest first
  put_back jsonb,                                 -- {since, code, message}: why the job was last put back
  unique_key text,                                -- see unique_lock
  unique_states smallint,
  rate_key text                                   -- see queue.key_rate
) partition by list (slot);

-- One row per batch claimed from a lane. The newest row of a lane in a slot is the lane's cursor: everything visible in
-- `prev` is claimed, and of what is visible in `cur`, all up to (last_xid, last_id), or all of it when last_id is null.
create table millrace.claim_log (
  lane bigint not null,
  n bigint not null,
  runtime bigint not null,
  at timestamptz not null default now(),
  last_xid xid8,
  last_id bigint,
  slot smallint not null,
  prev pg_snapshot not null,
  cur pg_snapshot not null,
  ids bigint[] not null,
  attempts int[] not null,
  span int8range not null, -- from the least to the greatest id, so that a look-up by id finds the row
  primary key (lane, n, slot)
) partition by list (slot);
create index claim_log_runtime on millrace.claim_log (runtime);
create index claim_log_span on millrace.claim_log using gist (span);

-- One row per closed attempt; its key is the fence: who inserts first has closed the attempt.
create table millrace.outcome_log (
  id bigint not null,
  finished_at timestamptz not null default now(),
  attempt int not null,
  slot smallint not null,
  state "char" not null, -- c completed, f failed, r failed and retried, s put back, released or snoozed, x cancelled
  result jsonb,
  error jsonb,           -- {code, message}
  primary key (id, attempt, slot)
) partition by list (slot);

-- One row per batch of attempts that a function accepted and will close by callback. Open = parked minus outcomes.
create table millrace.park_log (
  deadline timestamptz not null,
  at timestamptz not null default now(),
  slot smallint not null,
  ids bigint[] not null,
  attempts int[] not null,
  span int8range not null -- as in claim_log
) partition by list (slot);
create index park_log_deadline on millrace.park_log (deadline);
create index park_log_span on millrace.park_log using gist (span);

-- One row per claim from a queue that has a limit; the newest row of a queue is its state: which of its attempts were open,
-- and how many tokens its bucket held.
create table millrace.limit_log (
  n bigint not null,
  at timestamptz not null default now(),
  tokens float8,     -- null: the queue has no rate
  since timestamptz, -- the queue's limited_since, as far as the open attempts are known; null: they are not
  slot smallint not null,
  queue text not null,
  segments bigint[] not null,
  ids bigint[] not null,
  attempts int[] not null,
  primary key (queue, n, slot)
) partition by list (slot);

-- Segments are truncated, so vacuum has nothing to do there but to read them once more.
do $$
begin
  for slot in 0..7 loop
    execute format('create table millrace.job_log_%s partition of millrace.job_log for values in (%1$s) with (autovacuum_enabled = off)', slot);
    execute format('create table millrace.claim_log_%s partition of millrace.claim_log for values in (%1$s) with (autovacuum_enabled = off)', slot);
    execute format('create table millrace.outcome_log_%s partition of millrace.outcome_log for values in (%1$s) with (autovacuum_enabled = off)', slot);
    execute format('create table millrace.park_log_%s partition of millrace.park_log for values in (%1$s) with (autovacuum_enabled = off)', slot);
    execute format('create table millrace.limit_log_%s partition of millrace.limit_log for values in (%1$s) with (autovacuum_enabled = off)', slot);
  end loop;
end $$;
create index job_log_cursor on millrace.job_log (lane, xid, id);
create index job_log_id on millrace.job_log (id);
create index outcome_log_unhappy on millrace.outcome_log (id) where state in ('f', 'x');

-- Segments in which attempts were closed before they were claimed, so that claim has to look. A row may stand here twice.
create table millrace.withdrawn (
  segment bigint not null
);

-- Open attempts that were carried out of a segment whose slot was emptied: where they are now.
create table millrace.carried (
  id bigint not null,
  attempt int not null,
  segment bigint not null,
  primary key (id, attempt)
);

-- Finished jobs whose segment is gone and whose retention is not over.
create table millrace.archive (
  id bigint primary key,
  expires_at timestamptz not null,
  job jsonb not null -- as the function job answers it
);
create index archive_expires_at on millrace.archive (expires_at);

-- Small mutable tables, off the hot path -----------------------------------------------------------------------------

-- Jobs whose time has not come: scheduled, retrying, put back. A job is here or in the log, never in both.
create table millrace.deferred (
  id bigint primary key,
  run_at timestamptz not null,
  lane bigint not null,
  enqueued_at timestamptz not null,
  attempt int not null, -- the attempt to come
  max_attempts int not null,
  state "char" not null, -- s scheduled, r retryable
  kind text not null,
  payload jsonb not null,
  tags text[],
  metadata jsonb,
  progress jsonb,
  errors jsonb,
  put_back jsonb,
  unique_key text,
  unique_states smallint,
  rate_key text,
  bucket bigint -- the rate_bucket it waits for, since it is due
);
create index deferred_run_at on millrace.deferred (run_at, id) where bucket is null;
create index deferred_bucket on millrace.deferred (bucket, run_at, id) where bucket is not null;

-- Only for attempts that sent a heartbeat or progress; removed when the attempt closes.
create table millrace.attempt_state (
  id bigint not null,
  attempt int not null,
  segment bigint not null,
  deadline timestamptz not null,
  limit_at timestamptz, -- when its kind's time limit is over, however often it sends heartbeats
  progress jsonb,
  primary key (id, attempt)
);
create index attempt_state_deadline on millrace.attempt_state (deadline);

-- Dispatchers. `sleeping` asks enqueue for a notification; past `lost_at` one counts as dead.
create table millrace.runtime (
  id bigint generated always as identity primary key,
  name text not null,
  started_at timestamptz not null default now(),
  seen_at timestamptz not null default now(),
  lost_at timestamptz not null,
  sleeping boolean not null default false
);

-- Who may do what only one at a time should do: a lease, whose epoch grows with every change of hands.
create table millrace.leader (
  name text primary key,
  holder text not null,
  epoch bigint not null,
  until timestamptz not null
);

-- The server that gave out the transaction ids in the logs. They mean nothing to another one (see attach.sql).
create table millrace.cluster (
  identifier bigint not null,
  started_at timestamptz not null -- of the server process, so that a look at the identifier is rarely needed
);
insert into millrace.cluster select system_identifier, pg_postmaster_start_time() from pg_control_system();

-- How far a periodic sweep has come, so that it need not read its past again.
create table millrace.sweep (
  name text primary key,
  done_to timestamptz not null,
  mark_at timestamptz not null, -- where done_to may go next, once every transaction up to mark_xid has ended
  mark_xid xid8 not null
);

-- What the application's code declared ---------------------------------------------------------------------------

create table millrace.manifest (
  version bigint generated always as identity primary key,
  source text not null, -- which application declared it
  hash text not null,
  body jsonb not null,
  applied_at timestamptz not null default now()
);
create index manifest_source on millrace.manifest (source, version);

create table millrace.kind (
  name text primary key,
  queue text,
  priority smallint,
  max_attempts int,
  time_limit_seconds float8, -- how long an attempt may take, however often it sends heartbeats
  retry jsonb,
  target jsonb,
  source text not null
);
