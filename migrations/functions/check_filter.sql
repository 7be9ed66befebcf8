-- What a filter may say, for lists and for what changes many.

-- Refuses a filter that is none, or that has keys which mean nothing: a misspelt one would match everything.
create function millrace.check_filter(filter jsonb, keys text[]) returns void language plpgsql as $$
declare
  key text;
begin
  if jsonb_typeof(filter) is distinct from 'object' then
    perform millrace.refuse_request('a filter is an object');
  end if;
  select k into key from jsonb_object_keys(filter) k where k <> all (keys) limit 1;
  if key is not null then
    perform millrace.refuse_request(format('there is no filter %s, only %s', key, array_to_string(keys, ', ')));
  end if;
  select e.key into key from jsonb_each(filter) e
  where jsonb_typeof(e.value) <> case e.key when 'ids' then 'array' when 'all' then 'boolean' else 'string' end
    and not (e.key = 'state' and jsonb_typeof(e.value) = 'array');
  if key is not null then
    perform millrace.refuse_request(format('filter %s is of the wrong type', key));
  end if;
  if filter @? '$.state[*] ? (!(@ == "scheduled" || @ == "available" || @ == "running" || @ == "completed" || @ == "retryable"
      || @ == "failed" || @ == "cancelled" || @ == "waiting_external"))' then
    perform millrace.refuse_request('filter state is of no known state');
  end if;
  if jsonb_array_length(filter -> 'ids') > 10000 or exists (
    select from jsonb_array_elements(filter -> 'ids') i where i #>> '{}' !~ '^\d{1,18}$') then
    perform millrace.refuse_request('filter ids is at most 10,000 numbers');
  end if;
  begin
    perform (filter ->> 'enqueued_after')::timestamptz, (filter ->> 'enqueued_before')::timestamptz;
  exception when data_exception then
    perform millrace.refuse_request('filters enqueued_after and enqueued_before are times');
  end;
end $$;

create function millrace.refuse_request(message text) returns void language plpgsql as $$
begin
  raise exception 'millrace: %', message using errcode = 'check_violation', constraint = 'invalid_request';
end $$;

-- A filter of what changes many has to say so if it means all.
create function millrace.check_bulk_filter(filter jsonb, keys text[]) returns void language plpgsql as $$
begin
  perform millrace.check_filter(filter, keys);
  if filter - 'all' = '{}' and coalesce(filter ->> 'all', 'false') <> 'true' then
    perform millrace.refuse_request('without a filter, say all: true');
  elsif filter - 'all' <> '{}' and filter ->> 'all' = 'true' then
    perform millrace.refuse_request('all: true goes without a filter');
  end if;
end $$;
