-- Waiting for the outside world: a payment, an approval, somebody else's callback.

-- Attempts that ended by asking to wait for a named event. The attempt stays open, parked, and nobody works on it.
create table millrace.wait (
  id bigint primary key, -- the job: it waits for one event at a time
  attempt int not null,
  segment bigint not null,
  name text not null,
  since timestamptz not null default now(),
  deadline timestamptz not null,
  on_timeout text not null, -- fail, retry, resume
  rules jsonb               -- {filter?, on_complete?, on_fail?, transform?, default_action?}: CEL, which the callers evaluate
);

-- Events that came before anybody waited for them, oldest first.
create table millrace.kept_event (
  id bigint generated always as identity primary key,
  job bigint not null,
  name text not null,
  at timestamptz not null default now(),
  action text not null, -- event (the wait's rules say), resume, complete, fail, retry
  payload jsonb
);
create index kept_event_job on millrace.kept_event (job, name, id);
