-- Bulk operations on jobs, done a chunk at a time, so that a crash in between loses nothing and does nothing twice.

create table millrace.batch (
  id bigint generated always as identity primary key,
  operation text not null, -- retry, cancel, set_priority, move_queue
  filter jsonb not null,   -- as in list_jobs, with the states named
  params jsonb not null,   -- {priority?, queue?}
  state text not null default 'pending', -- pending, running, completed, cancelled
  created_at timestamptz not null default now(),
  created_by text,
  upper_id bigint not null, -- jobs enqueued later are left alone
  cursor_id bigint,         -- it and the jobs above it are done; null: not begun
  matched bigint not null default 0,
  changed bigint not null default 0,
  refused bigint not null default 0, -- matched, but in a state that does not allow the operation
  error text,               -- the last job that could not be changed because of an error, and why
  finished_at timestamptz
);
create index batch_open on millrace.batch (id) where state in ('pending', 'running');
