-- What is declared of kinds, for dispatchers.
create function millrace.kinds() returns table (name text, time_limit_seconds float8, target jsonb) language sql stable as $$
  select k.name, k.time_limit_seconds, k.target from millrace.kind k
$$;
