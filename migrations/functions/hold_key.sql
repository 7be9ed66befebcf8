-- Takes a unique key for a job, unless another job's hold on it still counts. Answers whose it is from now on. Waits for a
-- transaction that is about to take or to give it.
create function millrace.hold_key(key text, job bigint, states smallint, until timestamptz default null) returns bigint language plpgsql as $$
declare
  l millrace.unique_lock;
begin
  loop
    insert into millrace.unique_lock (key, job, states, until) values (hold_key.key, hold_key.job, hold_key.states, hold_key.until)
    on conflict do nothing;
    if found then
      return job;
    end if;
    select * into l from millrace.unique_lock u where u.key = hold_key.key for update;
    exit when found; -- else it was given up meanwhile
  end loop;
  if l.job = job then
    -- Written, so that one whose snapshot is older and knows of no such hold fails to take it over.
    update millrace.unique_lock u set job = l.job where u.key = hold_key.key;
    return job;
  end if;
  perform millrace.hold_segments(); -- else prune might empty the holder's slot during the look, and the holder not be found
  if millrace.key_counts(l) then
    return l.job;
  end if;
  update millrace.unique_lock u set job = hold_key.job, states = hold_key.states, until = hold_key.until where u.key = hold_key.key;
  return job;
end $$;

-- Whether a hold counts: until its time, and for as long as its job is in one of its states.
create function millrace.key_counts(l millrace.unique_lock) returns boolean language sql stable as $$
  select coalesce(l.until > now(), false)
    or coalesce(l.states >> array_position(millrace.state_names(), millrace.job_state(l.job)) - 1 & 1 = 1, false)
$$;

-- The states of a job in the order of their bits, the lowest first.
create function millrace.state_names() returns text[] language sql immutable as $$
  select array['scheduled', 'available', 'running', 'completed', 'retryable', 'failed', 'cancelled', 'waiting_external']
$$;
