-- Follow-ups: jobs that the transaction which moves another job on enqueues, as data, so that whoever closes can do it.

create table millrace.follow_up (
  name text primary key,
  kinds text[],          -- null: every kind
  events text[] not null, -- completed, retried, failed, cancelled, rescued, waiting
  job jsonb not null,    -- as enqueue_many takes it; see fill.sql for what its args, tags and metadata may refer to
  source text not null
);

-- What could not be enqueued. It never stands in the way of the job that it follows.
create table millrace.follow_up_problem (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  follow_up text not null,
  event text not null,
  job bigint not null,
  attempt int not null,
  code text not null,
  message text not null
);
create index follow_up_problem_job on millrace.follow_up_problem (job);
create index follow_up_problem_at on millrace.follow_up_problem (at);
