-- Webhooks: who is told of what, and what became of each delivery.

create table millrace.endpoint (
  name text primary key,
  tenant text,            -- null: hears of every tenant's jobs; see tenant_of
  kinds text[],           -- null: every kind
  events text[] not null, -- completed, retried, failed, cancelled, rescued, waiting
  url text not null,
  signature text not null default 'v1', -- v1: HMAC-SHA256; v1a: Ed25519
  description text,
  source text,            -- the manifest that declares it; null: made by an operator
  created_at timestamptz not null default now(),
  failing_since timestamptz, -- nothing has got through since
  disabled_at timestamptz,   -- deliveries become dead letters without being sent
  disabled_reason text       -- operator, gone (the endpoint answered 410), failing
);
create index endpoint_tenant on millrace.endpoint (tenant);

-- All that have not expired sign; the newest is the one.
create table millrace.endpoint_secret (
  id bigint generated always as identity primary key,
  endpoint text not null references millrace.endpoint (name) on delete cascade,
  secret text not null, -- whsec_…, whsk_…, or either sealed: see core/protocol/sealing.ts
  created_at timestamptz not null default now(),
  expires_at timestamptz
);
create index endpoint_secret_endpoint on millrace.endpoint_secret (endpoint, id);

-- One row per attempt to deliver. Pages go by (at, id).
create table millrace.delivery (
  id bigint generated always as identity,
  at timestamptz not null default now(),
  job bigint not null,     -- the delivery's
  attempt int not null,
  endpoint text not null,
  message text not null,   -- webhook-id: the same for every attempt and redelivery
  event text not null,     -- job.completed ... webhook.test
  about bigint,            -- the job that the event is about; null: none
  state "char" not null,   -- as in outcome_log
  status int,              -- null: no answer
  code text,               -- why there was none, or why it was not sent
  latency_ms int,          -- null: it was not sent
  response text            -- how the answer began
);
create index delivery_at on millrace.delivery (at, id);
create index delivery_endpoint on millrace.delivery (endpoint, at, id);
create index delivery_state on millrace.delivery (endpoint, state, at, id);
create index delivery_job on millrace.delivery (job, attempt);
create index delivery_about on millrace.delivery (about) where about is not null;
