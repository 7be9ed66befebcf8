-- What a maintenance process asks now and then, in one statement: that it lives, whether it leads, and what is due. So one
-- with nothing to do asks nothing else. All answers may err on the side of "due": the verbs themselves look again.
--
-- `runtime` pulses at least every `every_seconds`. `holder`: under which name it would lead; null: it does not want to.
-- `asleep`: it polls for nothing, so tell it whether work waits of which no notification came, and what is due later.
create function millrace.pulse(runtime bigint, holder text, every_seconds float8, asleep boolean)
returns table (
  beat_ms float8,    -- within which it must pulse again; null: it was given up and must register anew
  epoch bigint,      -- what it leads under; null: it does not
  lease_ms float8,   -- until the lease that somebody else has is over
  promote_ms float8, -- until the next deferred job is due
  rescue_ms float8,  -- until rescue may find something
  fire_ms float8,    -- until the next schedule is due
  work boolean,      -- jobs wait to be claimed
  chores text[]      -- what the leader should do now: rotate, prune, survey, batches, expire
) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  lost float8 := (select value from millrace.setting where name = 'runtime_lost_seconds');
  until timestamptz := now() + make_interval(secs => greatest(lost, 3 * every_seconds));
  known timestamptz := (select r.lost_at from millrace.runtime r where r.id = pulse.runtime);
begin
  work := asleep and millrace.unclaimed();
  beat_ms := 1000 * least(every_seconds, greatest(lost, 3 * every_seconds) / 3);
  if not asleep then
    beat_ms := least(beat_ms, 1000 * lost / 3);
  end if;
  if abs(extract(epoch from until - known)) > beat_ms / 4000 then -- else it has just been said
    perform millrace.runtime_beat(pulse.runtime, every_seconds);
  end if;
  if not exists (select from millrace.runtime r where r.id = pulse.runtime) then
    beat_ms := null;
  end if;
  if holder is null then
    return next;
    return;
  end if;
  epoch := millrace.lead('maintenance', holder, greatest(15, 3 * every_seconds));
  if epoch is null then
    lease_ms := (select millrace.ms_until(l.until) from millrace.leader l where l.name = 'maintenance');
  end if;
  promote_ms := millrace.ms_until(millrace.next_due());
  rescue_ms := millrace.ms_until(least(
    (select min(r.lost_at) from millrace.runtime r where r.id is distinct from pulse.runtime),
    (select min(a.deadline) from millrace.attempt_state a),
    millrace.silent_from(asleep)));
  if epoch is not null then
    fire_ms := (select millrace.ms_until(min(coalesce(s.next_at, now()))) from millrace.schedule s where s.paused_at is null);
    chores := millrace.chores(work or not asleep);
  end if;
  return next;
end $$;

create function millrace.ms_until(at timestamptz) returns float8 language sql as $$
  select case when isfinite(at) then (extract(epoch from at - clock_timestamp()) * 1000)::float8 end
$$;

-- From when on an accepted attempt has been silent for too long, among those that rescue is not done with. Looks at the next
-- few batches only: once all of them have passed, rescue looks further itself.
create function millrace.silent_from(asleep boolean) returns timestamptz language sql as $$
  select min(deadline) from (
    select p.deadline, row_number() over (order by p.deadline) as place,
      exists (select from unnest(p.ids, p.attempts) as u(id, attempt)
        where not exists (select from millrace.outcome_log o where o.slot = p.slot and o.id = u.id and o.attempt = u.attempt)
          and not exists (select from millrace.attempt_state a where a.id = u.id and a.attempt = u.attempt)
      ) as open
    from (
      select * from millrace.park_log
      where deadline > coalesce((select done_to from millrace.sweep where name = 'parked'), '-infinity') - interval '1 minute'
        and deadline <= case when asleep then 'infinity' else now() end
      order by deadline limit 20
    ) p
  ) batch where open or place = 20 and deadline <= now()
$$;

-- Whether any job waits to be claimed in a queue that is not paused; also in a drained segment, into which somebody with an
-- old snapshot wrote late: survey then has it looked into again.
create function millrace.unclaimed() returns boolean language sql as $$
  select exists (
    select from (select distinct on (id) id, queue from millrace.lane) l cross join millrace.segment s
    where s.opened_xid is not null and not exists (select from millrace.queue q where q.name = l.queue and q.paused_at is not null)
      and millrace.head(l.id, (s.number % 8)::smallint) is not null)
$$;

-- What the leader has to do, as far as can be seen at a glance; `work`: jobs may wait to be claimed.
create function millrace.chores(work boolean) returns text[] language sql as $$
  with setting as (
    select max(value) filter (where name = 'rotate_seconds') as seconds, max(value) filter (where name = 'rotate_bytes') as bytes
    from millrace.setting
  ), newest as (
    select opened_at, (number % 8)::int as slot from millrace.segment order by number desc limit 1
  )
  select array_remove(array[
    (select 'rotate' from newest n, setting s
      where exists (select from millrace.job_log j where j.slot = n.slot)
        and (n.opened_at <= now() - make_interval(secs => s.seconds) or millrace.slot_bytes(n.slot) >= s.bytes)),
    (select 'prune' from millrace.prunable() where slot is not null),
    case when work or exists (
        select from millrace.lane_head h where not exists (
          select from millrace.lane l join millrace.queue q on q.name = l.queue where l.id = h.lane and q.paused_at is not null))
        or (select count(*) from millrace.segment where not drained) > 1
      then 'survey' end,
    case when exists (select from millrace.batch where state in ('pending', 'running')) then 'batches' end,
    case when exists (select from millrace.dead_letter where expires_at <= now())
        or exists (select from millrace.archive where expires_at <= now())
        or exists (select from millrace.delivery where at <= millrace.deliveries_kept_from())
        or exists (select from millrace.follow_up_problem where at <= millrace.deliveries_kept_from())
        or exists (select from millrace.audit_log where at <= millrace.audit_kept_from())
      then 'expire' end
  ], null)
$$;
