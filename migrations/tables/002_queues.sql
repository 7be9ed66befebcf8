-- Queues: what the application declared of them and what an operator did to them. A queue needs no row to be used.

create table millrace.queue (
  name text primary key,
  -- Declared; null: the default.
  weight float8,                -- share of a dispatcher's capacity among queues of one priority: 1
  shards smallint,              -- lanes per priority: 1, which is strictly first in, first out
  max_running int,              -- open attempts at once, over all dispatchers
  limited_since timestamptz,    -- when max_running was set, having been null
  rate float8,                  -- attempts per second, over all dispatchers
  burst int,                    -- ... of which so many may come at once: one second's worth
  key_rate float8,              -- the same for each rate_key of the jobs
  key_burst int,
  dead_letters boolean,         -- true: failed jobs become dead letters
  dead_letter_retention_seconds float8,
  retention_seconds float8,
  failed_retention_seconds float8,
  source text,                  -- null: not declared
  -- Operated.
  paused_at timestamptz,
  paused_by text
);

-- Since when the first unclaimed job of a lane has been waiting, as the leader last saw it.
create table millrace.lane_head (
  lane bigint primary key,
  waiting_since timestamptz not null
);

-- The pace of a rate_key: up to when it is used up (the theoretical arrival time of a leaky bucket), and when the next of the
-- deferred jobs that wait for it may go (null: none waits). A row that says nothing is deleted.
create table millrace.rate_bucket (
  id bigint generated always as identity unique,
  queue text not null,
  key text not null,
  free_at timestamptz not null,
  next_at timestamptz,
  primary key (queue, key)
);
create index rate_bucket_next_at on millrace.rate_bucket (next_at) where next_at is not null;
create index rate_bucket_idle on millrace.rate_bucket (free_at) where next_at is null;

-- Who holds a unique key. The lock counts until `until`, and for as long as its job is in one of the states, whose bits are
-- 0 scheduled, 1 available, 2 running, 3 completed, 4 retryable, 5 failed, 6 cancelled, 7 waiting_external. A lock that
-- counts no more is taken over by the next job with that key.
create table millrace.unique_lock (
  key text primary key,
  job bigint not null,
  states smallint not null,
  until timestamptz
);
create index unique_lock_job on millrace.unique_lock (job);

-- Failed jobs, kept for somebody to look at and to retry.
create table millrace.dead_letter (
  id bigint primary key,
  died_at timestamptz not null default now(),
  expires_at timestamptz not null,
  reason text not null, -- terminal_error, max_attempts_exhausted, or the code of the error with which it ran out of attempts
  lane bigint not null,
  enqueued_at timestamptz not null,
  attempt int not null, -- the last one
  max_attempts int not null,
  kind text not null,
  payload jsonb not null,
  tags text[],
  metadata jsonb,
  progress jsonb,
  errors jsonb,
  unique_key text,
  unique_states smallint,
  rate_key text
);
create index dead_letter_died_at on millrace.dead_letter (died_at, id);
create index dead_letter_expires_at on millrace.dead_letter (expires_at);
