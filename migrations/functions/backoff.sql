-- How long to wait after the `failed`-th failure of a job (put-backs do not count) under a kind's retry policy (null: the
-- default, exponential from 2 s, a quarter of jitter, at most 24 h).
create function millrace.backoff(policy jsonb, failed int) returns interval language sql volatile as $$
  select make_interval(secs => least(
    coalesce((policy ->> 'cap_seconds')::float8, 86400),
    (1 + random() * coalesce((policy ->> 'jitter')::float8, 0.25)) * case coalesce(policy ->> 'strategy', 'exponential')
      when 'list' then (policy -> 'delays_seconds' ->> least(failed, jsonb_array_length(policy -> 'delays_seconds')) - 1)::float8
      when 'fixed' then (policy ->> 'base_seconds')::float8
      when 'linear' then coalesce((policy ->> 'base_seconds')::float8, 2) * failed
      else coalesce((policy ->> 'base_seconds')::float8, 2) * 2 ^ least(failed - 1, 60)
    end))
$$;
