-- Unique keys: what enqueue does about them, and cancelling by key. Who holds a key, and for how long: hold_key.sql.

-- The part of enqueue that takes unique keys, before the jobs are inserted. Answers, for each job of the call:
-- {id}, and for those that have a key {key, states}; `existing`: the job was there already; `replaced`: it makes way for
-- this one, which goes on with its {attempt, enqueued_at, errors}; `done`: there is nothing to insert.
-- Keys are taken in one order, so that no two calls wait for each other. Jobs of one call with the same key are one job.
create function millrace.take_keys(jobs jsonb) returns jsonb[] language plpgsql as $$
declare
  answers jsonb[] := array(select jsonb_build_object('id', nextval('millrace.job_id')) from generate_series(1, jsonb_array_length(jobs)));
  wish record;
  hold_until timestamptz;
  own bigint;
  holder bigint;
  kept jsonb; -- of the job that makes way
  last_key text;
  last_nth int; -- which job of this call holds that key
begin
  for wish in
    select u.nth::int, u.kind, u.key, coalesce(u.on_conflict, 'existing') as on_conflict, u.for_seconds,
      millrace.unique_states(u.states, u.for_seconds, u.on_conflict) as states,
      millrace.unique_problem(u.key, u.states, u.for_seconds, u.on_conflict) as problem
    from rows from (jsonb_to_recordset(jobs) as (kind text, unique_key text, unique_states text[], unique_for_seconds float8, on_conflict text))
      with ordinality as u(kind, key, states, for_seconds, on_conflict, nth)
    where u.key is not null order by u.key collate "C", u.nth
  loop
    if wish.problem is not null then
      perform millrace.refuse(wish.problem, wish.nth, wish.kind);
    end if;
    hold_until := now() + make_interval(secs => wish.for_seconds);
    own := answers[wish.nth] ->> 'id';
    kept := null;
    if wish.key is distinct from last_key then
      last_key := wish.key;
      last_nth := null;
    end if;
    if last_nth is not null then
      holder := answers[last_nth] ->> 'id';
      if wish.on_conflict = 'replace' then
        kept := answers[last_nth];
        answers[last_nth] := answers[last_nth] || '{"done": true}';
      end if;
    else
      for look in 1..2 loop -- after the first one it may be found to run, so that it counts no more
        holder := millrace.hold_key(wish.key, own, wish.states, hold_until);
        exit when holder = own or wish.on_conflict <> 'replace';
        kept := millrace.replace(holder);
        exit when kept is not null;
      end loop;
    end if;

    if holder = own then
      answers[wish.nth] := jsonb_build_object('id', own, 'key', wish.key, 'states', wish.states);
      last_nth := wish.nth;
    elsif wish.on_conflict = 'error' then
      perform millrace.refuse_conflict(wish.nth, wish.kind, holder);
    elsif kept is null then
      answers[wish.nth] := jsonb_build_object('id', holder, 'existing', true, 'done', true);
    else
      answers[wish.nth] := kept || jsonb_build_object('id', holder, 'key', wish.key, 'states', wish.states, 'existing', true, 'replaced', true);
      last_nth := wish.nth;
      update millrace.unique_lock l set states = wish.states, until = coalesce(hold_until, l.until) where l.key = wish.key;
    end if;
  end loop;
  return answers;
end $$;

-- The states in which a job holds its key, as bits: those given, and those from which a job comes to them by itself, without a
-- look at who has the key by then; else none when the key is held for a time; else the pending ones when the job may be
-- replaced, so that one that has begun makes room for the next; else all but the ends.
create function millrace.unique_states(states text[], for_seconds float8, on_conflict text) returns smallint language sql immutable as $$
  select case
    when states is not null then (
      select coalesce(bit_or(case s
        when 'waiting_external' then 128 | 4 | 2 | 1 | 16 when 'running' then 4 | 2 | 1 | 16 when 'available' then 2 | 1 | 16
        else 1 << array_position(millrace.state_names(), s) - 1 end), 0)
      from unnest(states) s)
    when for_seconds is not null then 0
    when on_conflict = 'replace' then 1 | 2 | 16
    else 1 | 2 | 4 | 8 | 16 | 128
  end::smallint
$$;

-- Cancels the job that took a unique key last, if it has not ended. Others that want the key wait for this transaction.
create function millrace.cancel_by_key(unique_key text, reason text default null, by text default null)
returns table (id bigint, state text, cancelled boolean) language plpgsql as $$
declare
  holder bigint := (select l.job from millrace.unique_lock l where l.key = cancel_by_key.unique_key for update);
begin
  return query select * from millrace.cancel(array[holder], reason, by);
end $$;
