-- Raises the error of a code from job_problem: SQLSTATE 23514, with the code in the error's constraint field.
create function millrace.refuse(problem text, job_number bigint, kind text) returns bigint language plpgsql as $$
declare
  hints constant jsonb := '{
    "invalid_kind": ["kind must have 1 to 200 characters and not start with the prefix of built-in kinds", "Give the job''s kind, e.g. render_receipt."],
    "invalid_queue": ["queue must have 1 to 200 characters", "Leave queue out for the queue of the kind, or else the queue \"default\"."],
    "invalid_priority": ["priority must be 1 to 4", "1 is served first, 4 last."],
    "invalid_max_attempts": ["max_attempts must be 1 to 1000", "It counts the first attempt too."],
    "invalid_run_at": ["run_at must be finite, delay must not be negative or beyond 10000 years, and only one of them may be given", "Leave both out to run the job at once."],
    "invalid_tags": ["tags must be at most 20, none of them empty, 4000 characters in all", "Put longer texts into metadata."],
    "invalid_metadata": ["metadata must be a JSON object without keys that start with awa:, _awa_ or millrace:", "Those prefixes are reserved."],
    "invalid_ordering_key": ["ordering_key must have 1 to 200 characters", "Jobs with the same one are claimed in the order of their enqueueing."],
    "invalid_rate_key": ["rate_key must have 1 to 200 characters", "Jobs with the same one share the rate of their queue''s key_rate."],
    "invalid_unique": ["unique_key must have 1 to 200 characters, unique_states must be names of states, the time 0 seconds to ten years, on_conflict one of existing, error and replace", "What is said of a unique job needs its unique_key."],
    "payload_too_large": ["args and metadata may each have %s bytes as JSON text", "Store the large part elsewhere and pass a reference, or raise payload_limit_bytes in the setting table."]
  }';
  text_of jsonb := hints -> problem;
begin
  raise exception using
    errcode = 'check_violation',
    constraint = problem,
    schema = 'millrace',
    message = format('millrace: job %s (kind %s): %s', job_number, coalesce(quote_literal(left(kind, 60)), 'null'),
      format(text_of ->> 0, (select value from millrace.setting where name = 'payload_limit_bytes'))),
    hint = text_of ->> 1;
end $$;

-- Raises what on_conflict => 'error' asks for: SQLSTATE 23505, with the holder of the key in the detail.
create function millrace.refuse_conflict(job_number bigint, kind text, holder bigint) returns void language plpgsql as $$
begin
  raise exception using
    errcode = 'unique_violation',
    constraint = 'unique_conflict',
    schema = 'millrace',
    message = format('millrace: job %s (kind %s): job %s holds its unique key', job_number, quote_literal(left(kind, 60)), holder),
    detail = format('job %s', holder),
    hint = 'Leave on_conflict out to be given that job''s id instead, or use replace.';
end $$;
