-- Keys of the API. The database has a hash and the beginning of each; the key itself is shown once, by whoever makes it.

-- hash: hex of the key's BLAKE3. A name is that of one key at a time: it is what stands in the audit log.
create function millrace.api_key_create(name text, hash text, hint text, scopes text[], tenant text default null,
  expires_seconds float8 default null, by text default null) returns jsonb language plpgsql as $$
declare
  made millrace.api_key;
begin
  perform millrace.refuse_api_key(name, hash, hint, scopes, tenant, expires_seconds);
  perform pg_advisory_xact_lock(7266, hashtext(name));
  if exists (select from millrace.api_key k where k.name = api_key_create.name and not millrace.api_key_expired(k)) then
    raise exception 'millrace: there is an API key %', quote_literal(name) using errcode = 'unique_violation', constraint = 'api_key_exists',
      hint = 'Rotate it, revoke it, or take another name.';
  end if;
  insert into millrace.api_key (name, hash, hint, scopes, tenant, created_by, expires_at)
  values (api_key_create.name, api_key_create.hash, api_key_create.hint, array(select distinct s from unnest(api_key_create.scopes) s order by s),
    api_key_create.tenant, coalesce(by, session_user::text), now() + make_interval(secs => expires_seconds))
  returning * into made;
  perform millrace.audit(by, 'api_key.create', millrace.api_key_audited(made));
  return millrace.api_key_row(made);
end $$;

-- Another key with the same name, rights and length of life; the one before is good for grace_seconds more. Null: there is none,
-- or it has expired.
create function millrace.api_key_rotate(id bigint, hash text, hint text, grace_seconds float8 default 86400, by text default null)
returns jsonb language plpgsql as $$
declare
  old millrace.api_key;
  made millrace.api_key;
begin
  select * into old from millrace.api_key k where k.id = api_key_rotate.id for update;
  if old.id is null or millrace.api_key_expired(old) then
    return null;
  elsif not coalesce(grace_seconds between 0 and 31536000, false) then
    perform millrace.refuse_request('a key is replaced within 0 to 31536000 seconds');
  end if;
  perform millrace.refuse_api_key(old.name, hash, hint, old.scopes, old.tenant, null);
  update millrace.api_key k set expires_at = least(k.expires_at, now() + make_interval(secs => grace_seconds)) where k.id = old.id;
  insert into millrace.api_key (name, hash, hint, scopes, tenant, created_by, expires_at)
  values (old.name, api_key_rotate.hash, api_key_rotate.hint, old.scopes, old.tenant, coalesce(by, session_user::text),
    now() + (old.expires_at - old.created_at))
  returning * into made;
  perform millrace.audit(by, 'api_key.rotate', millrace.api_key_audited(made) || jsonb_build_object('before', old.id, 'grace_seconds', grace_seconds));
  return millrace.api_key_row(made);
end $$;

-- Answers whether there was such a key.
create function millrace.api_key_revoke(id bigint, by text default null) returns boolean language plpgsql as $$
declare
  gone millrace.api_key;
begin
  delete from millrace.api_key k where k.id = api_key_revoke.id returning * into gone;
  perform millrace.audit(by, 'api_key.revoke', millrace.api_key_audited(gone)) where gone.id is not null;
  return gone.id is not null;
end $$;

create function millrace.get_api_key(id bigint) returns jsonb language sql stable as $$
  select millrace.api_key_row(k) from millrace.api_key k where k.id = get_api_key.id
$$;

-- Newest first: {items, cursor}.
create function millrace.list_api_keys(cursor text default null, max_keys int default null) returns jsonb language plpgsql stable as $$
declare
  most int := least(coalesce(max_keys, 100), 1000);
begin
  if cursor !~ '^\d{1,18}$' or most < 1 then
    perform millrace.refuse_request('a cursor is what the page before answered, a limit at least 1');
  end if;
  return (
    select jsonb_build_object('items', coalesce(jsonb_agg(millrace.api_key_row(k) order by k.id desc), '[]'),
      'cursor', case when count(*) = most then min(k.id)::text end)
    from (
      select * from millrace.api_key x where x.id < coalesce(list_api_keys.cursor::bigint, 9223372036854775807) order by x.id desc limit most
    ) k);
end $$;

-- What a key may do, for the API: {name, scopes, tenant, expires_ms}; null: there is no such key (any more). Marks it as used, once an
-- hour, and without waiting for anybody.
create function millrace.api_key_by_hash(hash text) returns jsonb language plpgsql as $$
declare
  k millrace.api_key;
begin
  select * into k from millrace.api_key x where x.hash = api_key_by_hash.hash;
  if k.id is null or millrace.api_key_expired(k) then
    return null;
  end if;
  if k.used_at is null or k.used_at < now() - interval '1 hour' then
    update millrace.api_key x set used_at = now() where x.id in (select y.id from millrace.api_key y where y.id = k.id for update skip locked);
  end if;
  return jsonb_build_object('name', k.name, 'scopes', k.scopes, 'tenant', k.tenant, 'expires_ms', extract(epoch from k.expires_at - now()) * 1000);
end $$;

-- The verbs' parts --------------------------------------------------------------------------------------------------

create function millrace.api_key_expired(k millrace.api_key) returns boolean language sql stable as $$
  select coalesce(k.expires_at <= now(), false)
$$;

create function millrace.api_key_row(k millrace.api_key) returns jsonb language sql stable as $$
  select to_jsonb(k) - 'hash' || jsonb_build_object('expired', millrace.api_key_expired(k))
$$;

create function millrace.api_key_audited(k millrace.api_key) returns jsonb language sql stable as $$
  select jsonb_build_object('id', k.id, 'name', k.name, 'scopes', k.scopes, 'tenant', k.tenant, 'expires_at', k.expires_at)
$$;

create function millrace.refuse_api_key(name text, hash text, hint text, scopes text[], tenant text, expires_seconds float8) returns void
language plpgsql as $$
declare
  problem text := case
    when name is null or length(name) not between 1 and 100 or name <> btrim(name) then 'a name of 1 to 100 characters'
    when not coalesce(hash ~ '^[0-9a-f]{64}$', false) then 'the hash of a key'
    when hint is null or length(hint) not between 1 and 12 then 'a hint of at most 12 characters'
    when not coalesce(scopes <> '{}' and scopes <@ array['enqueue', 'read', 'operate'], false) then 'scopes, of enqueue, read and operate'
    when length(tenant) not between 1 and 200 then 'a tenant of 1 to 200 characters, or none'
    when not expires_seconds between 1 and 315360000 then 'a life of 1 to 315360000 seconds, or none'
  end;
begin
  if problem is not null then
    perform millrace.refuse_request('an API key has ' || problem);
  end if;
end $$;

-- Forgets keys that expired thirty days ago.
create function millrace.expire_api_keys() returns void language sql as $$
  delete from millrace.api_key where expires_at <= now() - interval '30 days'
$$;
