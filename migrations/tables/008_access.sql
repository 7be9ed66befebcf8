-- Who may use the API, and what operators did.

create table millrace.api_key (
  id bigint generated always as identity primary key,
  name text not null,
  hash text not null unique, -- hex of the BLAKE3 hash of the key, which stands nowhere
  hint text not null,        -- how the key begins, for people to tell it by
  scopes text[] not null,    -- enqueue, read, operate
  tenant text,               -- null: of every tenant
  created_at timestamptz not null default now(),
  created_by text not null,
  expires_at timestamptz,
  used_at timestamptz        -- to the hour
);

create table millrace.audit_log (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  actor text not null,   -- an API key's name, a person the CLI was told of, or the database user
  login text not null default session_user, -- who was connected, whatever the actor is called
  action text not null,  -- job.cancel, queue.pause ...
  detail jsonb not null
);
create index audit_log_at on millrace.audit_log (at);
