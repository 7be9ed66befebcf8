-- Webhook secrets at rest, on their way under another key: whoever has the keys reads them, and puts them back sealed anew.

create function millrace.endpoint_secrets() returns table (id bigint, endpoint text, secret text) language sql stable as $$
  select s.id, s.endpoint, s.secret from millrace.endpoint_secret s where s.expires_at is null or s.expires_at > now() order by s.id
$$;

-- Answers false when the secret is no longer what it `was`.
create function millrace.endpoint_reseal(id bigint, was text, secret text, by text default null) returns boolean language plpgsql as $$
#variable_conflict use_column
declare
  of_endpoint text;
begin
  if not coalesce(starts_with(endpoint_reseal.secret, 'sealed:'), false) or millrace.secret_problem(endpoint_reseal.secret, 'v1') is not null then
    perform millrace.refuse_endpoint(null, 'a secret is sealed anew, or stays as it is');
  end if;
  update millrace.endpoint_secret s set secret = endpoint_reseal.secret
  where s.id = endpoint_reseal.id and s.secret = endpoint_reseal.was returning s.endpoint into of_endpoint;
  if of_endpoint is not null then
    perform millrace.audit(by, 'endpoint.reseal', jsonb_build_object('endpoint', of_endpoint));
    perform pg_notify('millrace_wake', 'manifest');
  end if;
  return of_endpoint is not null;
end $$;
