-- Makes the declared kinds, subscriptions, schedules, queues and follow-ups of one source (an application) the ones on
-- record, in one transaction, and keeps the manifest as a new version when anything changed. Other sources' declarations are
-- left alone; declaring a name that another source owns is refused (SQLSTATE 23505, constraint invalid_declaration), and so is what
-- enqueue would refuse (SQLSTATE 23514, the same constraint).
create function millrace.sync_manifest(manifest jsonb, source text default 'default', by text default null) returns jsonb language plpgsql as $$
#variable_conflict use_column
declare
  body jsonb := millrace.without_secrets(manifest);
  digest text := md5(body::text);
  newest record;
  removed text[];
begin
  lock table millrace.manifest in share row exclusive mode;
  select version, hash into newest from millrace.manifest m where m.source = sync_manifest.source order by version desc limit 1;
  if newest.hash = digest then
    return jsonb_build_object('version', newest.version, 'changed', false, 'removed', '[]'::jsonb);
  end if;
  perform millrace.check_manifest(manifest, source);
  with gone as (
    delete from millrace.kind k where k.source = sync_manifest.source
      and not exists (select from jsonb_array_elements(manifest -> 'kinds') e where e ->> 'name' = k.name) returning k.name
  ), gone_too as (
    delete from millrace.endpoint s where s.source = sync_manifest.source
      and not exists (select from jsonb_array_elements(manifest -> 'subscriptions') e where e ->> 'name' = s.name) returning s.name
  ), gone_as_well as (
    delete from millrace.schedule s where s.source = sync_manifest.source
      and not exists (select from jsonb_array_elements(manifest -> 'schedules') e where e ->> 'name' = s.name) returning s.name
  )
  select array_agg(name order by name) into removed from (
    select name from gone union all select name from gone_too union all select name from gone_as_well
    union all select millrace.undeclare_queues(manifest, sync_manifest.source)
    union all select millrace.undeclare_follow_ups(manifest, sync_manifest.source)) names;
  insert into millrace.kind (name, queue, priority, max_attempts, time_limit_seconds, retry, target, source)
  select name, queue, priority, max_attempts, time_limit_seconds, retry, target, sync_manifest.source
  from jsonb_to_recordset(manifest -> 'kinds') as k(name text, queue text, priority smallint, max_attempts int, time_limit_seconds float8, retry jsonb, target jsonb)
  on conflict (name) do update set queue = excluded.queue, priority = excluded.priority, max_attempts = excluded.max_attempts,
    time_limit_seconds = excluded.time_limit_seconds, retry = excluded.retry, target = excluded.target;
  perform millrace.declare_endpoints(manifest, source);
  perform millrace.declare_queues(manifest, source);
  perform millrace.declare_follow_ups(manifest, source);
  perform millrace.declare_schedules(manifest, source);
  insert into millrace.manifest (source, hash, body) values (sync_manifest.source, digest, body) returning version into newest.version;
  perform millrace.audit(by, 'manifest.sync', jsonb_build_object('source', source, 'version', newest.version, 'removed', removed));
  perform pg_notify('millrace_wake', 'manifest');
  return jsonb_build_object('version', newest.version, 'changed', true, 'removed', coalesce(to_jsonb(removed), '[]'));
end $$;

-- A changed secret signs from now on, the one before along with it for a day, or as long as is said. Another url is given a fresh
-- chance; what else became of an endpoint stays as it is.
create function millrace.declare_endpoints(manifest jsonb, source text) returns void language plpgsql as $$
declare
  d record;
  was text;
begin
  for d in
    select s.*, coalesce(s.signature, millrace.signature_of(s.secret), 'v1') as signs
    from jsonb_to_recordset(manifest -> 'subscriptions') as s(name text, url text, tenant text, kinds text[], events text[],
      description text, secret text, signature text, grace_seconds float8)
    order by s.name
  loop
    select e.url into was from millrace.endpoint e where e.name = d.name for update;
    insert into millrace.endpoint (name, url, tenant, kinds, events, description, signature, source)
    values (d.name, d.url, d.tenant, d.kinds, d.events, d.description, d.signs, declare_endpoints.source)
    on conflict (name) do update set url = excluded.url, tenant = excluded.tenant, kinds = excluded.kinds, events = excluded.events,
      description = excluded.description, signature = excluded.signature;
    perform millrace.forgive_endpoint(e.name) from millrace.endpoint e
    where e.name = d.name and e.url <> was and e.disabled_reason is distinct from 'operator';
    perform millrace.put_secret(d.name, d.secret, coalesce(d.grace_seconds, 86400));
  end loop;
end $$;

-- The manifest as it is kept: hashes in place of secrets, by which a change still shows.
create function millrace.without_secrets(manifest jsonb) returns jsonb language sql immutable as $$
  select case when jsonb_typeof(manifest -> 'subscriptions') = 'array' then jsonb_set(manifest, '{subscriptions}', (
    select coalesce(jsonb_agg(case when e ? 'secret'
      then e || jsonb_build_object('secret', 'sha256:' || encode(sha256(convert_to(e ->> 'secret', 'UTF8')), 'hex')) else e end order by n), '[]')
    from jsonb_array_elements(manifest -> 'subscriptions') with ordinality s(e, n))) else manifest end
$$;

-- What was declared of a queue goes; what an operator did to it stays.
create function millrace.undeclare_queues(manifest jsonb, source text) returns setof text language sql as $$
  with gone as (
    update millrace.queue q set weight = null, shards = null, max_running = null, rate = null, burst = null, key_rate = null,
      key_burst = null, dead_letters = null, dead_letter_retention_seconds = null, retention_seconds = null,
      failed_retention_seconds = null, source = null
    where q.source = undeclare_queues.source
      and not exists (select from jsonb_array_elements(manifest -> 'queues') e where e ->> 'name' = q.name) returning q.name
  )
  select name from gone
$$;

create function millrace.declare_queues(manifest jsonb, source text) returns void language sql as $$
  insert into millrace.queue as q (name, weight, shards, max_running, rate, burst, key_rate, key_burst, dead_letters,
    dead_letter_retention_seconds, retention_seconds, failed_retention_seconds, source)
  select name, weight, shards, max_running, rate, burst, key_rate, key_burst, dead_letters,
    dead_letter_retention_seconds, retention_seconds, failed_retention_seconds, declare_queues.source
  from jsonb_to_recordset(manifest -> 'queues') as d(name text, weight float8, shards smallint, max_running int, rate float8, burst int,
    key_rate float8, key_burst int, dead_letters boolean, dead_letter_retention_seconds float8, retention_seconds float8,
    failed_retention_seconds float8)
  on conflict (name) do update set weight = excluded.weight, shards = excluded.shards, max_running = excluded.max_running,
    rate = excluded.rate, burst = excluded.burst, key_rate = excluded.key_rate, key_burst = excluded.key_burst,
    dead_letters = excluded.dead_letters, dead_letter_retention_seconds = excluded.dead_letter_retention_seconds,
    retention_seconds = excluded.retention_seconds, failed_retention_seconds = excluded.failed_retention_seconds,
    source = excluded.source
$$;

-- A schedule keeps its pause and how far it has come. With another expression or zone it starts from now, since what those
-- say of the past was never due; and one that could not be fired is tried again at once.
create function millrace.declare_schedules(manifest jsonb, source text) returns void language sql as $$
  insert into millrace.schedule as s (name, expression, timezone, kind, args, time_arg, queue, priority, max_attempts, tags, metadata,
    missed, overlap, source)
  select name, expression, coalesce(timezone, 'UTC'), kind, coalesce(args, e -> 'args', '{}'), time_arg, queue, priority, max_attempts,
    tags, metadata, coalesce(missed, 'coalesce'), coalesce(overlap, 'allow'), declare_schedules.source
  from jsonb_array_elements(manifest -> 'schedules') e
  cross join jsonb_to_record(e) as d(name text, expression text, timezone text, kind text, args jsonb, time_arg text,
    queue text, priority smallint, max_attempts int, tags text[], metadata jsonb, missed text, overlap text)
  on conflict (name) do update set expression = excluded.expression, timezone = excluded.timezone, kind = excluded.kind,
    args = excluded.args, time_arg = excluded.time_arg, queue = excluded.queue, priority = excluded.priority,
    max_attempts = excluded.max_attempts, tags = excluded.tags, metadata = excluded.metadata, missed = excluded.missed,
    overlap = excluded.overlap, error = null,
    next_at = case when s.error is null and (s.expression, s.timezone) = (excluded.expression, excluded.timezone) then s.next_at end,
    done_to = case when (s.expression, s.timezone) = (excluded.expression, excluded.timezone) then s.done_to
      else greatest(clock_timestamp(), s.done_to + interval '1 microsecond') end
$$;

-- Refuses names that another source declares, and declarations that could never work: above all those whose jobs enqueue
-- would refuse, by its own rules.
create function millrace.check_manifest(manifest jsonb, source text) returns void language plpgsql as $$
#variable_conflict use_column
declare
  payload_limit constant bigint := (select value from millrace.setting where name = 'payload_limit_bytes');
  problems text;
begin
  -- A name that is mistyped here would take back all that the source has declared.
  if jsonb_typeof(manifest) is distinct from 'object' or exists (
    select from jsonb_each(case jsonb_typeof(manifest) when 'object' then manifest end) m
    where m.key not in ('kinds', 'subscriptions', 'schedules', 'queues', 'follow_ups') or jsonb_typeof(m.value) <> 'array') then
    raise exception using errcode = 'check_violation', constraint = 'invalid_declaration',
      message = 'millrace: a manifest is an object of the arrays kinds, subscriptions, schedules, queues and follow_ups';
  end if;
  select string_agg(format('%s (declared by %s)', d.name, o.source), ', ') into problems
  from millrace.declared_names(manifest) d
  join (
    select 'kind' as type, name, source from millrace.kind union all select 'subscription', name, coalesce(source, 'an operator') from millrace.endpoint
    union all select 'schedule', name, source from millrace.schedule union all select 'queue', name, source from millrace.queue
    union all select 'follow-up', name, source from millrace.follow_up
  ) o on o.type = d.type and o.name = d.name and o.source <> check_manifest.source;
  if problems is not null then
    raise exception using errcode = 'unique_violation', constraint = 'invalid_declaration',
      message = 'millrace: declared twice, by different sources: ' || problems, hint = 'Rename it, or declare it in one application only.';
  end if;
  select string_agg(format('%s %s: %s', type, coalesce(quote_literal(left(name, 60)), 'without a name'), problem), '; ') into problems from (
    select type, name, 'declared twice' as problem from millrace.declared_names(manifest) group by type, name having count(*) > 1
    union all
    select 'kind', name, coalesce(millrace.job_problem(kind => name, args => '{}', queue => queue, priority => priority,
      run_at => null, delay => null, max_attempts => max_attempts, tags => null, metadata => null,
      ordering_key => null, rate_key => null, payload_limit => payload_limit),
      case when not time_limit_seconds > 0 then 'time_limit_seconds is above 0' end, millrace.target_problem(retry, target))
    from jsonb_to_recordset(manifest -> 'kinds') as k(name text, queue text, priority int, max_attempts int, time_limit_seconds float8,
      retry jsonb, target jsonb)
    union all
    select 'subscription', name, millrace.subscription_problem(e)
    from jsonb_array_elements(manifest -> 'subscriptions') e, jsonb_to_record(e) as d(name text)
    union all
    select 'schedule', s.name, coalesce(
      millrace.job_problem(kind => s.kind, args => e -> 'args', queue => s.queue, priority => s.priority, run_at => null, delay => null,
        max_attempts => s.max_attempts, tags => s.tags, metadata => s.metadata,
        ordering_key => null, rate_key => null, payload_limit => payload_limit),
      millrace.schedule_problem(s.name, s.expression, s.missed, s.overlap, s.time_arg, e -> 'args', s.metadata))
    from jsonb_array_elements(manifest -> 'schedules') e
    cross join jsonb_to_record(e) as s(name text, expression text, kind text, time_arg text,
      queue text, priority int, max_attempts int, tags text[], metadata jsonb, missed text, overlap text)
    union all
    select 'queue', name, millrace.queue_problem(q)
    from jsonb_array_elements(manifest -> 'queues') q, jsonb_to_record(q) as d(name text)
    union all
    select 'follow-up', name, millrace.follow_up_declaration_problem(f)
    from jsonb_array_elements(manifest -> 'follow_ups') f, jsonb_to_record(f) as d(name text)
  ) checked where problem is not null;
  if problems is not null then
    raise exception using errcode = 'check_violation', constraint = 'invalid_declaration', message = 'millrace: ' || problems;
  end if;
end $$;

create function millrace.declared_names(manifest jsonb) returns table (type text, name text) language sql as $$
  select t.type, e ->> 'name'
  from (values ('kind', 'kinds'), ('subscription', 'subscriptions'), ('schedule', 'schedules'), ('queue', 'queues'), ('follow-up', 'follow_ups')) t(type, key)
  cross join jsonb_array_elements(manifest -> t.key) e
$$;

create function millrace.schedule_problem(
  name text, expression text, missed text, overlap text, time_arg text, args jsonb, metadata jsonb
) returns text language sql as $$
  select case
    when name is null or length(name) not between 1 and 200 or starts_with(name, 'millrace' || '.') then 'name has 1 to 200 characters and is not built in'
    when expression is null or cardinality(regexp_split_to_array(btrim(expression), '\s+')) not in (5, 6) then 'expression has 5 or 6 fields'
    when missed not in ('coalesce', 'skip', 'catch_up') then 'missed is coalesce, skip or catch_up'
    when overlap not in ('allow', 'skip', 'cancel') then 'overlap is allow, skip or cancel'
    when time_arg is not null and jsonb_typeof(args) <> 'object' then 'time_arg needs args that are an object'
    when metadata ? 'schedule' then 'metadata.schedule is set by each occurrence'
  end
$$;

create function millrace.target_problem(retry jsonb, target jsonb) returns text language sql as $$
  select case
    when nullif(retry, 'null') -> 'strategy' not in ('"exponential"', '"linear"', '"fixed"', '"list"') or jsonb_typeof(retry) not in ('object', 'null')
      then 'retry is an object with the strategy exponential, linear, fixed or list'
    when coalesce(target, 'null') = 'null' then null
    when coalesce(target -> 'lambda', 'null') <> 'null' and millrace.lambda_problem(target) is not null then millrace.lambda_problem(target)
    when coalesce(target -> 'lambda', 'null') = 'null' and not coalesce(target ->> 'url' ~* '^(https?://[^/]|binding://[a-z_]\w{0,99}(/|$))', false) then 'target is an object with an absolute http(s) url'
    when target ->> 'url' ~ '^[^/]*//[^/?#\\]*@' then 'url carries credentials; put them into a header'
    when target ->> 'mode' not in ('sync', 'callback') then 'mode is sync or callback'
    when jsonb_typeof(target -> 'compatible') not in ('boolean', 'null') then 'compatible is true or false'
    else millrace.target_auth_problem(target -> 'headers', target -> 'auth')
  end
$$;

create function millrace.lambda_problem(target jsonb) returns text language sql as $$
  select case
    when coalesce(target -> 'url', 'null') <> 'null' then 'target has either a url or a lambda'
    when coalesce(target -> 'headers', 'null') <> 'null' or coalesce(target -> 'auth', 'null') <> 'null' then 'headers and auth are for URLs'
    when not coalesce(target #>> '{lambda,function}' ~
      '^((arn:aws[a-z-]*:lambda:[a-z0-9-]{1,50}:)?[0-9]{12}:function:)?[A-Za-z0-9_-]{1,64}(:(\$LATEST|[A-Za-z0-9_-]{1,128}))?$', false)
      or target #>> '{lambda,region}' !~ '^[a-z0-9-]{1,50}$'
      or target #>> '{lambda,qualifier}' !~ '^(\$LATEST|[A-Za-z0-9_-]{1,128})$'
      then 'lambda: function is a name or an ARN; region and qualifier are names of AWS'
  end
$$;

create function millrace.target_auth_problem(headers jsonb, auth jsonb) returns text language sql as $$
  select case
    when jsonb_typeof(headers) not in ('object', 'null') then 'headers are an object'
    when exists (
      select from jsonb_each(case jsonb_typeof(headers) when 'object' then headers end) h
      where jsonb_typeof(h.value) <> 'string' and not coalesce(h.value ->> 'secret' ~ '^[A-Za-z][A-Za-z0-9_]{0,99}$', false)
    ) then 'headers are texts, or secrets whose names have 1 to 100 letters, digits and underscores'
    when exists (
      select from jsonb_each_text(case jsonb_typeof(headers) when 'object' then headers end) h
      where h.key !~ '^[!#$%&''*+.^_`|~0-9A-Za-z-]+$' or h.value ~ '[^\t\u0020-\u007e\u0080-\u00ff]'
        or lower(h.key) in ('connection', 'content-length', 'expect', 'keep-alive', 'transfer-encoding', 'upgrade')
    ) then 'headers are such as HTTP can carry, and none of the connection''s own'
    when coalesce(auth, 'null') = 'null' then null
    when exists (
      select from jsonb_object_keys(case jsonb_typeof(headers) when 'object' then headers end) h where lower(h) = 'authorization'
    ) then 'auth: the header authorization is declared already'
    when auth ->> 'type' = 'oidc' then
      case when not coalesce(length(auth ->> 'audience'), 1) between 1 and 2000 then 'auth: audience has 1 to 2000 characters' end
    when auth ->> 'type' is distinct from 'aws_sigv4' then 'auth: type is oidc or aws_sigv4'
    when not coalesce(auth ->> 'region' ~ '^[a-z0-9-]{1,50}$', false) or not coalesce(auth ->> 'service', 'lambda') ~ '^[a-z0-9-]{1,50}$'
      then 'auth: region and service are names of AWS, such as eu-west-1 and lambda'
  end
$$;

create function millrace.subscription_problem(subscription jsonb) returns text language sql as $$
  select coalesce(millrace.endpoint_problem(name, url, tenant, kinds, events, description),
    millrace.secret_problem(secret, coalesce(signature, millrace.signature_of(secret), 'v1')),
    case when grace_seconds is not null then millrace.grace_problem(grace_seconds) end)
  from jsonb_to_record(subscription) as s(name text, url text, tenant text, kinds text[], events text[], description text, secret text,
    signature text, grace_seconds float8)
$$;

create function millrace.queue_problem(queue jsonb) returns text language sql as $$
  select case
    when name is null or length(name) not between 1 and 200 or starts_with(name, 'millrace' || '.') then 'name has 1 to 200 characters and is not built in'
    when not weight between 0.001 and 1000 then 'weight is 0.001 to 1000'
    when shards not between 1 and 64 then 'shards is 1 to 64'
    when max_running not between 1 and 1000000 then 'max_running is 1 to 1000000'
    when not rate between 0.00001 and 1000000 or not key_rate between 0.00001 and 1000000 then 'rate and key_rate are 0.00001 to 1000000 per second'
    when burst not between 1 and 1000000 or key_burst not between 1 and 1000000 then 'burst and key_burst are 1 to 1000000'
    when burst is not null and rate is null or key_burst is not null and key_rate is null then 'a burst needs a rate'
    when not least(dead_letter_retention_seconds, retention_seconds, failed_retention_seconds) >= 0
      or not greatest(dead_letter_retention_seconds, retention_seconds, failed_retention_seconds) <= 315360000
      then 'retentions are 0 to 315360000 seconds'
  end
  from jsonb_to_record(queue) as q(name text, weight float8, shards int, max_running int, rate float8, burst int, key_rate float8,
    key_burst int, dead_letter_retention_seconds float8, retention_seconds float8, failed_retention_seconds float8)
$$;
