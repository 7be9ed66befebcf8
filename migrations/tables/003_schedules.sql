-- Schedules: jobs that are enqueued at the times of a cron expression.

create table millrace.schedule (
  name text primary key,
  -- Declared.
  expression text not null, -- 5 or 6 fields
  timezone text not null,   -- IANA name
  kind text not null,
  args jsonb not null,
  time_arg text,            -- the field of args that is given the occurrence's time
  queue text,
  priority smallint,
  max_attempts int,
  tags text[],
  metadata jsonb,
  missed text not null,     -- coalesce, skip, catch_up: what happens to occurrences nobody fired in time
  overlap text not null,    -- allow, skip, cancel: what happens while the last occurrence's job is still open
  source text not null,
  created_at timestamptz not null default now(),
  -- Kept by firing it.
  done_to timestamptz not null default now(), -- occurrences up to here were fired, skipped or never due
  next_at timestamptz,                        -- when to look at it: the next occurrence, or the next try; null: at once
  last_at timestamptz,                        -- the last occurrence that became a job
  last_job bigint,
  skipped bigint not null default 0,          -- occurrences that became no job because of an open one
  error jsonb,                                -- {code, message, since, tries}: why it could not be fired; null once it was
  -- Operated.
  paused_at timestamptz,
  paused_by text
);
create index schedule_next_at on millrace.schedule (next_at);
