-- Webhook endpoints, as operators keep them. Those that a manifest declares (`source`) are changed there; an operator may switch
-- them off and on, and try them. Answers null for an endpoint that there is not.
--
-- What dispatchers have read of an endpoint they read anew when they are told that the manifest changed.

-- Makes an endpoint. Without a secret it gets a random one, which the answer has as `secret` this one time. signature: as its
-- secret says, else v1.
create function millrace.endpoint_create(name text, url text, secret text default null, tenant text default null, kinds text[] default null,
  events text[] default null, signature text default null, description text default null, by text default null) returns jsonb language plpgsql as $$
declare
  wanted text[] := coalesce(events, array['completed', 'failed', 'cancelled']);
  signing text := coalesce(signature, millrace.signature_of(secret), 'v1');
  signs_with text := coalesce(secret, millrace.random_webhook_secret(signing));
begin
  perform millrace.refuse_endpoint(name, coalesce(millrace.endpoint_problem(name, url, tenant, kinds, wanted, description),
    millrace.secret_problem(signs_with, signing)));
  insert into millrace.endpoint (name, url, tenant, kinds, events, signature, description)
  values (endpoint_create.name, endpoint_create.url, endpoint_create.tenant, endpoint_create.kinds, wanted, signing, endpoint_create.description)
  on conflict do nothing;
  if not found then
    raise exception 'millrace: there is an endpoint %', quote_literal(name) using errcode = 'unique_violation', constraint = 'endpoint_exists';
  end if;
  perform millrace.put_secret(name, signs_with, 0);
  perform millrace.audit(by, 'endpoint.create', jsonb_build_object('endpoint', name, 'tenant', tenant, 'kinds', kinds, 'events', wanted));
  return millrace.get_endpoint(name) || case when secret is null then jsonb_build_object('secret', signs_with) else '{}' end;
end $$;

-- changes: any of url, tenant, kinds, events, description; null takes a tenant, kinds or a description away. Another url is
-- given a fresh chance.
create function millrace.endpoint_update(name text, changes jsonb, by text default null) returns jsonb language plpgsql as $$
#variable_conflict use_column
declare
  e millrace.endpoint := millrace.hold_endpoint(name);
  was text := e.url;
begin
  if e.name is null then
    return null;
  end if;
  perform millrace.refuse_declared(e);
  perform millrace.check_keys(changes, array['url', 'tenant', 'kinds', 'events', 'description']);
  e := jsonb_populate_record(e, changes);
  perform millrace.refuse_endpoint(e.name, millrace.endpoint_problem(e.name, e.url, e.tenant, e.kinds, e.events, e.description));
  update millrace.endpoint x set url = e.url, tenant = e.tenant, kinds = e.kinds, events = e.events, description = e.description
  where x.name = e.name;
  perform millrace.forgive_endpoint(e.name) where e.url <> was and e.disabled_reason is distinct from 'operator';
  perform millrace.audit(by, 'endpoint.update', jsonb_build_object('endpoint', e.name,
    'changed', array(select k from jsonb_object_keys(changes) k order by k)));
  perform pg_notify('millrace_wake', 'manifest');
  return millrace.get_endpoint(e.name);
end $$;

-- With its secrets; what is on its way to it fails as no_endpoint. Answers whether there was one.
create function millrace.endpoint_delete(name text, by text default null) returns boolean language plpgsql as $$
declare
  e millrace.endpoint := millrace.hold_endpoint(name);
begin
  perform millrace.refuse_declared(e);
  delete from millrace.endpoint x where x.name = e.name;
  perform millrace.audit(by, 'endpoint.delete', jsonb_build_object('endpoint', e.name, 'tenant', e.tenant)) where e.name is not null;
  perform pg_notify('millrace_wake', 'manifest') where e.name is not null;
  return e.name is not null;
end $$;

-- From now on the given secret signs, or a random one, which the answer has as `secret` this one time; those before sign along
-- for grace_seconds. At most five sign at once: the oldest give way.
create function millrace.endpoint_rotate(name text, secret text default null, grace_seconds float8 default 86400, signature text default null,
  by text default null) returns jsonb language plpgsql as $$
#variable_conflict use_column
declare
  e millrace.endpoint := millrace.hold_endpoint(endpoint_rotate.name);
  signing text := coalesce(endpoint_rotate.signature, millrace.signature_of(endpoint_rotate.secret), e.signature);
  signs_with text := coalesce(endpoint_rotate.secret, millrace.random_webhook_secret(signing));
begin
  if e.name is null then
    return null;
  end if;
  perform millrace.refuse_declared(e);
  perform millrace.refuse_endpoint(e.name, coalesce(millrace.secret_problem(signs_with, signing), millrace.grace_problem(grace_seconds)));
  update millrace.endpoint x set signature = signing where x.name = e.name and x.signature <> signing;
  perform millrace.put_secret(e.name, signs_with, grace_seconds);
  perform millrace.audit(by, 'endpoint.rotate', jsonb_build_object('endpoint', e.name, 'grace_seconds', grace_seconds));
  perform pg_notify('millrace_wake', 'manifest');
  return millrace.get_endpoint(e.name) || case when endpoint_rotate.secret is null then jsonb_build_object('secret', signs_with) else '{}' end;
end $$;

create function millrace.endpoint_enable(name text, by text default null) returns jsonb language plpgsql as $$
begin
  perform millrace.forgive_endpoint(name);
  perform millrace.audit(by, 'endpoint.enable', jsonb_build_object('endpoint', e.name)) from millrace.endpoint e where e.name = endpoint_enable.name;
  perform pg_notify('millrace_wake', 'manifest');
  return millrace.get_endpoint(name);
end $$;

-- From now on deliveries to it become dead letters, unsent, until it is enabled and they are redelivered.
create function millrace.endpoint_disable(name text, by text default null) returns jsonb language plpgsql as $$
begin
  update millrace.endpoint e set disabled_at = coalesce(e.disabled_at, now()), disabled_reason = 'operator' where e.name = endpoint_disable.name;
  if found then
    perform millrace.audit(by, 'endpoint.disable', jsonb_build_object('endpoint', name));
    perform pg_notify('millrace_wake', 'manifest');
  end if;
  return millrace.get_endpoint(name);
end $$;

-- Sends an endpoint an event of type webhook.test, once. Answers the delivery's job.
create function millrace.endpoint_test(name text, by text default null) returns bigint language plpgsql as $$
declare
  made bigint;
  e millrace.endpoint;
begin
  select * into e from millrace.endpoint x where x.name = endpoint_test.name;
  if e.disabled_at is not null then
    raise exception 'millrace: the endpoint % is disabled', quote_literal(name)
      using errcode = 'object_not_in_prerequisite_state', constraint = 'endpoint_disabled', hint = 'Enable it first.';
  end if;
  if e.name is not null then
    made := millrace.enqueue_delivery(jsonb_build_object('endpoint', e.name, 'event', jsonb_build_object(
      'type', 'webhook.test', 'timestamp', now(), 'data', jsonb_build_object('endpoint', e.name))), 1);
    perform millrace.audit(by, 'endpoint.test', jsonb_build_object('endpoint', e.name, 'job', made));
  end if;
  return made;
end $$;

-- One endpoint, without its secrets.
create function millrace.get_endpoint(name text) returns jsonb language sql stable as $$
  select millrace.endpoint_row(e) from millrace.endpoint e where e.name = get_endpoint.name
$$;

-- By name: {items, cursor}. filter: {tenant?, source?, state?: enabled, failing or disabled}.
create function millrace.list_endpoints(filter jsonb default '{}', cursor text default null, max_endpoints int default null) returns jsonb
language plpgsql stable as $$
declare
  most int := least(coalesce(max_endpoints, 100), 1000);
begin
  perform millrace.check_keys(filter, array['tenant', 'source', 'state']);
  if most < 1 or filter ->> 'state' not in ('enabled', 'failing', 'disabled') then
    perform millrace.refuse_request('a limit is at least 1, a state enabled, failing or disabled');
  end if;
  return (
    select jsonb_build_object('items', coalesce(jsonb_agg(millrace.endpoint_row(e) order by e.name), '[]'),
      'cursor', case when count(*) = most then max(e.name) end)
    from (
      select * from millrace.endpoint x
      where (list_endpoints.cursor is null or x.name > list_endpoints.cursor)
        and (filter ->> 'tenant' is null or x.tenant = filter ->> 'tenant')
        and (filter ->> 'source' is null or x.source = filter ->> 'source')
        and (filter ->> 'state' is null or millrace.endpoint_state(x) = filter ->> 'state')
      order by x.name limit most
    ) e);
end $$;

-- Where deliveries to these endpoints go and what signs them, the newest secret first. names: a JSON array.
create function millrace.delivery_routes(names jsonb) returns table (name text, tenant text, url text, disabled_reason text, secrets text[]) language sql stable as $$
  select e.name, e.tenant, e.url, e.disabled_reason, array(
    select s.secret from millrace.endpoint_secret s where s.endpoint = e.name and (s.expires_at is null or s.expires_at > now()) order by s.id desc)
  from millrace.endpoint e where e.name = any (array(select jsonb_array_elements_text(names)))
$$;

-- The verbs' parts --------------------------------------------------------------------------------------------------

create function millrace.hold_endpoint(name text) returns millrace.endpoint language sql as $$
  select e from millrace.endpoint e where e.name = hold_endpoint.name for update
$$;

create function millrace.forgive_endpoint(name text) returns void language sql as $$
  update millrace.endpoint e set disabled_at = null, disabled_reason = null, failing_since = null where e.name = forgive_endpoint.name
$$;

-- The one that signs from now on. Nothing happens if it does already, so that a manifest may be synced again and again.
create function millrace.put_secret(endpoint text, secret text, grace_seconds float8) returns void language plpgsql as $$
#variable_conflict use_column
declare
  newest record;
begin
  select s.secret, s.expires_at into newest from millrace.endpoint_secret s where s.endpoint = put_secret.endpoint order by s.id desc limit 1;
  if newest.secret = put_secret.secret and newest.expires_at is null then
    return;
  end if;
  delete from millrace.endpoint_secret s where s.endpoint = put_secret.endpoint and (s.secret = put_secret.secret or grace_seconds = 0
    or s.id in (select o.id from millrace.endpoint_secret o where o.endpoint = put_secret.endpoint order by o.id desc offset 4));
  update millrace.endpoint_secret s set expires_at = now() + make_interval(secs => grace_seconds)
  where s.endpoint = put_secret.endpoint and (s.expires_at is null or s.expires_at > now() + make_interval(secs => grace_seconds));
  insert into millrace.endpoint_secret (endpoint, secret) values (put_secret.endpoint, put_secret.secret);
end $$;

-- 244 random bits, as the server's own source of randomness gives them.
create function millrace.random_webhook_secret(signature text) returns text language sql as $$
  select case when signature = 'v1' then 'whsec_' || encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'base64') end
$$;

-- What a secret signs, as far as it shows: a sealed one does not.
create function millrace.signature_of(secret text) returns text language sql immutable as $$
  select case when starts_with(secret, 'whsec_') then 'v1' when starts_with(secret, 'whsk_') then 'v1a' end
$$;

create function millrace.endpoint_state(e millrace.endpoint) returns text language sql immutable as $$
  select case when e.disabled_at is not null then 'disabled' when e.failing_since is not null then 'failing' else 'enabled' end
$$;

create function millrace.endpoint_row(e millrace.endpoint) returns jsonb language sql stable as $$
  select to_jsonb(e) || jsonb_build_object(
    'state', millrace.endpoint_state(e),
    'secrets', (
      select coalesce(jsonb_agg(jsonb_build_object('created_at', s.created_at, 'expires_at', s.expires_at,
        'sealed', starts_with(s.secret, 'sealed:')) order by s.id desc), '[]')
      from millrace.endpoint_secret s where s.endpoint = e.name and (s.expires_at is null or s.expires_at > now())),
    'last_success_at', (select d.at from millrace.delivery d where d.endpoint = e.name and d.at >= e.created_at and d.state = 'c' order by d.at desc limit 1),
    'last_failure_at', (select max(f.at) from unnest(array['f', 'r']::"char"[]) u(state) cross join lateral (
      select d.at from millrace.delivery d where d.endpoint = e.name and d.at >= e.created_at and d.state = u.state order by d.at desc limit 1) f))
$$;

-- What is wrong with it, if anything; the same for those that manifests declare.
create function millrace.endpoint_problem(name text, url text, tenant text, kinds text[], events text[], description text default null)
returns text language sql immutable as $$
  select case
    when name is null or length(name) not between 1 and 200 or name in ('.', '..') then 'name has 1 to 200 characters and is not . or ..'
    when not coalesce(url ~* '^https?://[^/]' and length(url) <= 2000, false) then 'url is an absolute http(s) URL'
    when url ~ '^[^/]*//[^/?#\\]*@' then 'url carries no credentials'
    when length(tenant) not between 1 and 200 then 'tenant has 1 to 200 characters'
    when not coalesce(events <> '{}' and events <@ millrace.job_events(), false)
      then 'events are some of completed, retried, failed, cancelled, rescued and waiting'
    when kinds = '{}' then 'kinds is empty: leave it out for all of them'
    when length(description) > 1000 then 'description has at most 1000 characters'
  end
$$;

-- The secret is not quoted.
create function millrace.secret_problem(secret text, signature text) returns text language sql immutable as $$
  select case
    when signature not in ('v1', 'v1a') then 'signature is v1 or v1a'
    when secret ~ '^sealed:[A-Za-z0-9_-]{1,32}:[A-Za-z0-9_-]{40,200}$' then null
    when signature = 'v1' and not coalesce(secret ~ '^whsec_([A-Za-z0-9+/]{4}){8,20}([A-Za-z0-9+/]{4}([A-Za-z0-9+/]{2}==)?|[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$', false)
      then 'secret is whsec_ and 24 to 64 bytes in base64'
    when signature = 'v1a' and not coalesce(secret ~ '^whsk_([A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==)$', false)
      then 'secret is whsk_ and 32 or 64 bytes in base64'
  end
$$;

create function millrace.grace_problem(grace_seconds float8) returns text language sql immutable as $$
  select case when not coalesce(grace_seconds between 0 and 31536000, false) then 'a secret is replaced within 0 to 31536000 seconds' end
$$;

create function millrace.refuse_endpoint(name text, problem text) returns void language plpgsql as $$
begin
  if problem is not null then
    raise exception 'millrace: endpoint %: %', coalesce(quote_literal(left(name, 60)), 'without a name'), problem
      using errcode = 'check_violation', constraint = 'invalid_endpoint';
  end if;
end $$;

create function millrace.refuse_declared(e millrace.endpoint) returns void language plpgsql as $$
begin
  if e.source is not null then
    raise exception 'millrace: the endpoint % is declared by the manifest of %', quote_literal(e.name), quote_literal(e.source)
      using errcode = 'object_not_in_prerequisite_state', constraint = 'endpoint_declared', hint = 'Change it there.';
  end if;
end $$;

-- Refuses an object with other keys: a misspelt one would be no filter, or no change, at all.
create function millrace.check_keys(given jsonb, keys text[]) returns void language plpgsql as $$
begin
  if jsonb_typeof(given) is distinct from 'object' or given - keys <> '{}' then
    perform millrace.refuse_request(format('expected an object of some of %s', array_to_string(keys, ', ')));
  end if;
end $$;
