-- Moving what is open out of a slot that is about to be emptied (prune) or that means nothing any more (attach).

-- The attempts in a slot that have no end yet, and whether they were claimed. Reads all of the slot's keys.
create function millrace.stragglers(in_slot smallint) returns table (id bigint, attempt int, claimed boolean) language sql stable set jit = off as $$
  with open as materialized (
    select j.id, j.attempt from millrace.job_log j where j.slot = in_slot
      and not exists (select from millrace.outcome_log o where o.slot = in_slot and o.id = j.id and o.attempt = j.attempt)
  ), claimed as (
    select distinct u.id, u.attempt from millrace.claim_log c cross join lateral unnest(c.ids, c.attempts) u(id, attempt)
    where c.slot = in_slot and exists (select from open) and (u.id, u.attempt) in (select id, attempt from open)
  )
  select o.id, o.attempt, c.id is not null from open o left join claimed c on c.id = o.id and c.attempt = o.attempt
$$;

-- Copies the given attempts, as far as they are still open, into the newest segment: an unclaimed one is claimed from there,
-- a claimed one stays its dispatcher's and its function's, who go on naming its old segment (see follow). `claimed` tells
-- which ones may have been claimed. Answers how many. The caller holds the slot exclusively and removes what was copied.
create function millrace.carry(from_slot smallint, ids bigint[], attempts int[], claimed boolean[]) returns int language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  to_segment bigint := (select max(number) from millrace.segment);
  to_slot smallint := to_segment % 8;
  n_before bigint := (select coalesce(max(n), 0) from millrace.claim_log c where c.slot = to_slot and c.lane = 0);
  held record;
  moved int;
begin
  select array_agg(u.id) as ids, array_agg(u.attempt) as attempts, array_agg(u.claimed) as claimed into held
  from unnest(ids, attempts, claimed) u(id, attempt, claimed)
  where not exists (select from millrace.outcome_log o where o.slot = from_slot and o.id = u.id and o.attempt = u.attempt);

  insert into millrace.job_log (id, lane, enqueued_at, attempt, max_attempts, slot, kind, payload, ready_at, tags, metadata, progress, errors,
    put_back, unique_key, unique_states, rate_key)
  select j.id, j.lane, j.enqueued_at, j.attempt, j.max_attempts, to_slot, j.kind, j.payload, j.ready_at, j.tags, j.metadata, j.progress, j.errors,
    j.put_back, j.unique_key, j.unique_states, j.rate_key
  from unnest(held.ids, held.attempts) u(id, attempt)
  join millrace.job_log j on j.slot = from_slot and j.id = u.id and j.attempt = u.attempt
  order by j.xid, j.id;
  get diagnostics moved = row_count;

  -- Of no lane: no cursor passes them.
  with owned as (
    select distinct on (u.id, u.attempt) u.id, u.attempt, c.runtime, c.at
    from unnest(held.ids, held.attempts, held.claimed) u(id, attempt, claimed)
    join millrace.claim_log c on c.slot = from_slot and c.span @> u.id and u.id = any (c.ids) and (u.id, u.attempt) in (select * from unnest(c.ids, c.attempts))
    where u.claimed
  ), kept as (
    insert into millrace.carried (id, attempt, segment) select id, attempt, to_segment from owned
    on conflict (id, attempt) do update set segment = excluded.segment
  ), beating as (
    update millrace.attempt_state a set segment = to_segment from owned w where a.id = w.id and a.attempt = w.attempt
  ), waiting as (
    update millrace.wait x set segment = to_segment from owned w where x.id = w.id and x.attempt = w.attempt
  )
  insert into millrace.claim_log (lane, n, runtime, at, slot, prev, cur, ids, attempts, span)
  select 0, n_before + row_number() over (), runtime, at, to_slot, '1:1:', '1:1:', array_agg(id), array_agg(attempt), int8range(min(id), max(id), '[]')
  from owned group by runtime, at;
  if found then
    perform millrace.withdraw(to_segment);
  end if;

  insert into millrace.park_log (deadline, at, slot, ids, attempts, span)
  select p.deadline, p.at, to_slot, array_agg(u.id), array_agg(u.attempt), int8range(min(u.id), max(u.id), '[]')
  from unnest(held.ids, held.attempts, held.claimed) u(id, attempt, claimed)
  join millrace.park_log p on p.slot = from_slot and p.span @> u.id and u.id = any (p.ids) and (u.id, u.attempt) in (select * from unnest(p.ids, p.attempts))
  where u.claimed
  group by p.deadline, p.at;
  return moved;
end $$;
