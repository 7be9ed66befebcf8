-- The limits of a job, in one place: null when it is within them, else the code of what is wrong.
-- Plain SQL without a subquery, so that the planner inlines it.
create function millrace.job_problem(
  kind text, args jsonb, queue text, priority int, run_at timestamptz, delay interval, max_attempts int, tags text[], metadata jsonb,
  ordering_key text, rate_key text, payload_limit bigint
) returns text language sql stable as $$
  select case
    when kind is null or length(kind) not between 1 and 200 or starts_with(kind, 'millrace' || '.') then 'invalid_kind'
    when length(queue) not between 1 and 200 then 'invalid_queue'
    when priority not between 1 and 4 then 'invalid_priority'
    when max_attempts not between 1 and 1000 then 'invalid_max_attempts'
    when run_at is not null and delay is not null or not isfinite(run_at)
      or delay not between interval '0' and interval '10000 years' then 'invalid_run_at'
    when cardinality(tags) > 20 or '' = any (tags) or array_position(tags, null) is not null
      or length(array_to_string(tags, '')) > 4000 then 'invalid_tags'
    when jsonb_typeof(metadata) <> 'object'
      or metadata @? '$.keyvalue() ? (@.key like_regex "^(awa:|_awa_|millrace:)")' then 'invalid_metadata'
    when octet_length(args::text) > payload_limit or octet_length(metadata::text) > payload_limit then 'payload_too_large'
    when length(ordering_key) not between 1 and 200 then 'invalid_ordering_key'
    when length(rate_key) not between 1 and 200 then 'invalid_rate_key'
  end
$$;

-- The same for what makes a job unique: what it says needs a key to be said of.
create function millrace.unique_problem(unique_key text, unique_states text[], unique_for_seconds float8, on_conflict text)
returns text language sql stable as $$
  select case
    when unique_key is null or length(unique_key) not between 1 and 200
      or not unique_states <@ millrace.state_names()
      or array_position(unique_states, null) is not null
      or unique_for_seconds not between 0 and 315360000
      or on_conflict not in ('existing', 'error', 'replace') then 'invalid_unique'
  end
$$;

-- A job's delay; one that no interval holds is too long, or negative, all the same.
create function millrace.delay_of(seconds float8) returns interval language sql immutable as $$
  select make_interval(secs => case when seconds is not null then least(greatest(seconds, -1), 1e12) end)
$$;
