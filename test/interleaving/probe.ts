// What the interleaving tests put beside the engine in their databases: a record of everything that was ever committed, a
// saved state to go back to, a drain that runs every job to its end, and the invariants.

/** Every table whose rows make a state. */
const TABLES = [
  ...[
    'segment',
    'lane',
    'job_log',
    'claim_log',
    'outcome_log',
    'park_log',
    'limit_log',
    'withdrawn',
    'carried',
    'archive',
  ],
  ...[
    'deferred',
    'attempt_state',
    'runtime',
    'leader',
    'cluster',
    'sweep',
    'queue',
    'lane_head',
    'rate_bucket',
    'unique_lock',
  ],
  ...['dead_letter', 'kind', 'wait', 'kept_event'],
]

const each = (line: (table: string) => string): string => TABLES.map(line).join('\n')

export const PROBE = `
create schema probe;
create schema saved;
create table probe.phase (name text not null);
insert into probe.phase values ('world');
-- An attempt came to be, in the log or deferred.
create table probe.came (id bigint, attempt int, unique_key text, payment text);
create table probe.claimed (id bigint, attempt int, phase text);
create table probe.ended (id bigint, attempt int, slot smallint, state "char", phase text);
-- Committed answers of retry and replace, which let a job go on after an end.
create table probe.revived (id bigint);
create table probe.cancelled (id bigint);
-- Events \`payment\` that were taken, by committed answers.
create table probe.sent (id bigint, payload text);

create function probe.note_came() returns trigger language plpgsql as $$
begin
  insert into probe.came values (new.id, new.attempt, new.unique_key, new.progress #>> '{events,payment,payload}');
  return null;
end $$;
create function probe.note_claimed() returns trigger language plpgsql as $$
begin
  -- Of lane 0: carried, not claimed.
  insert into probe.claimed (id, attempt, phase) select u.*, (select name from probe.phase) from unnest(new.ids, new.attempts) u where new.lane <> 0;
  return null;
end $$;
create function probe.note_ended() returns trigger language plpgsql as $$
begin
  insert into probe.ended (id, attempt, slot, state, phase) values (new.id, new.attempt, new.slot, new.state, (select name from probe.phase));
  return null;
end $$;
create trigger came after insert on millrace.job_log for each row execute function probe.note_came();
create trigger came after insert on millrace.deferred for each row execute function probe.note_came();
create trigger claimed after insert on millrace.claim_log for each row execute function probe.note_claimed();
create trigger ended after insert on millrace.outcome_log for each row execute function probe.note_ended();

create function probe.save() returns void language plpgsql as $$
begin
  ${each(table => `create table saved.${table} as select * from millrace.${table};`)}
  create table saved.came as select * from probe.came;
  create table saved.claimed as select * from probe.claimed;
  create table saved.ended as select * from probe.ended;
  create table saved.sent as select * from probe.sent;
end $$;

-- In a session without triggers.
create function probe.restore() returns void language plpgsql as $$
begin
  ${each(table => `delete from millrace.${table};`)}
  ${each(table => `insert into millrace.${table} overriding system value select * from saved.${table};`)}
  truncate probe.came, probe.claimed, probe.ended, probe.revived, probe.cancelled, probe.sent;
  insert into probe.came select * from saved.came;
  insert into probe.claimed select * from saved.claimed;
  insert into probe.ended select * from saved.ended;
  insert into probe.sent select * from saved.sent;
  update probe.phase set name = 'race';
end $$;
-- Now and then, since nothing vacuums after so many restores.
create procedure probe.vacate() language sql as $$ truncate ${TABLES.map(table => `millrace.${table}`).join(', ')} $$;

-- The attempts that wait, run or are parked.
create view probe.open as
  select j.id, j.attempt, j.slot, j.lane, j.unique_key, 'log' as place from millrace.job_log j
  where not exists (select from millrace.outcome_log o where o.slot = j.slot and o.id = j.id and o.attempt = j.attempt)
  union all select d.id, d.attempt, null, d.lane, d.unique_key, 'deferred' from millrace.deferred d;

-- Everything runs to its end: what is due is claimed, and everything is completed, after a rescue of all that is open, if
-- wanted. So all that is open is within reach of both, callbacks and rescue.
create procedure probe.drain(runtime bigint, rescues boolean) language plpgsql as $$
declare
  taken record;
begin
  update probe.phase set name = 'drain';
  for round in 1..8 loop
    if rescues or round > 4 then
      update millrace.runtime set lost_at = '-infinity' where id <> drain.runtime;
      update millrace.park_log set deadline = now() - interval '1 s' where deadline > now();
      update millrace.attempt_state set deadline = now() - interval '1 s' where deadline > now();
      delete from millrace.sweep;
      perform millrace.rescue(1000);
      commit;
    end if;
    update millrace.deferred set run_at = now() where run_at > now();
    perform millrace.promote(1000);
    commit;
    perform millrace.claim(drain.runtime, 1000);
    commit;
    select array_agg(s.number) as segments, array_agg(o.id) as ids, array_agg(o.attempt) as attempts into taken
      from probe.open o join millrace.segment s on s.number % 8 = o.slot
      where exists (select from probe.claimed c where c.id = o.id and c.attempt = o.attempt) and (not rescues or exists (
        select from millrace.claim_log c where c.slot = o.slot and c.runtime = drain.runtime and c.span @> o.id));
    if taken.ids is not null then
      perform millrace.close(taken.segments, taken.ids, taken.attempts, array_fill('completed'::text, array[cardinality(taken.ids)]));
      commit;
    end if;
    exit when not exists (select from probe.open);
    -- Written into a sealed or an emptied slot by somebody who believed it to be the newest.
    if exists (select from probe.open where slot not in (select number % 8 from millrace.segment where not drained)) then
      perform millrace.survey();
      commit;
      perform millrace.prune();
      commit;
    end if;
  end loop;
end $$;

-- What must hold at any time: a job is open in one place at most, and not after its end; of those that share a unique key
-- (whose holders hold it in all open states, here) one at most is open, and the lock names it.
create function probe.problems_now() returns setof text language plpgsql as $$
begin
  return query
  with open as materialized (select * from probe.open)
  select format('job %s is open %s times: %s', id, count(*), string_agg(format('%s %s slot %s', attempt, place, slot), ', '))
  from open group by id having count(*) > 1
  union all
  select format('job %s attempt %s is open again after its outcome %s', o.id, o.attempt, e.state) from open o join probe.ended e using (id, attempt)
  union all
  select format('key %s is that of the open jobs %s', unique_key, array_agg(distinct id)) from open where unique_key is not null
  group by unique_key having count(distinct id) > 1
  union all
  select format('key %s of open job %s is held by %s', o.unique_key, o.id, coalesce(l.job::text, 'nobody'))
  from open o left join millrace.unique_lock l on l.key = o.unique_key where o.unique_key is not null and l.job is distinct from o.id
  union all
  select format('%s attempts of queue %s are open, %s may be', r.count, q.name, q.max_running)
  from millrace.queue q cross join lateral (
    select count(*) from probe.claimed c join open o using (id, attempt)
    where o.lane in (select l.id from millrace.lane l where l.queue = q.name)
  ) r where q.max_running < r.count;
end $$;

-- What must hold of events after a race in which no job waits twice: each that was taken is kept or has made the attempt that is
-- told of it, not both; of others there is nothing; and none is kept while its job waits for it.
create function probe.event_problems() returns setof text language sql as $$
  with places as (
    select k.job as id, k.payload #>> '{}' as payload, 'kept' as place from millrace.kept_event k
    union all
    select distinct c.id, c.payment, format('attempt %s', c.attempt) from probe.came c
    where c.payment is not null and not exists (
      select from probe.came before where before.id = c.id and before.attempt < c.attempt and before.payment = c.payment)
  ), counted as (
    select id, payload, bool_or(taken) as taken, count(place) as n, string_agg(place, ', ') as places from (
      select id, payload, true as taken, null as place from probe.sent union all select id, payload, false, place from places
    ) both_of_them group by id, payload
  )
  select format('event %s of job %s has %s places: %s', payload, id, n, coalesce(places, 'none')) from counted where n <> taken::int
  union all
  select format('job %s waits for an event that is kept', w.id)
  from millrace.wait w join millrace.kept_event k on k.job = w.id and k.name = w.name join probe.open o on o.id = w.id and o.attempt = w.attempt
$$;

-- What must hold of all that has happened, in the end. The look at every job's state takes longer than all the rest.
create function probe.problems(states boolean) returns setof text language plpgsql as $$
begin
  return query
  with newest as materialized (
    select n.id, n.attempt, e.state from (select id, max(attempt) as attempt from probe.came group by id) n left join probe.ended e using (id, attempt)
  )
  select format('job %s is lost: attempt %s has %s (state %s)', n.id, n.attempt, coalesce('outcome ' || n.state::text, 'no outcome'), millrace.job_state(n.id))
  from newest n where n.state is null or n.state not in ('c', 'f', 'x')
  union all
  select format('job %s attempt %s has %s outcomes: %s', id, attempt, count(*), string_agg(format('%s slot %s %s', state, slot, phase), ', '))
  from probe.ended group by id, attempt having count(*) > 1
  union all
  select format('job %s attempt %s was claimed %s times: %s', id, attempt, count(*), string_agg(phase, ', '))
  from probe.claimed group by id, attempt having count(*) > 1
  union all
  select format('job %s attempt %s was claimed after its outcome %s', c.id, c.attempt, e.state)
  from probe.claimed c join probe.ended e using (id, attempt) where c.phase = 'drain' and e.phase <> 'drain'
  union all
  select format('job %s went on to attempt %s after attempt %s had ended for good (%s)', n.id, n.attempt, e.attempt, e.state)
  from probe.ended e join newest n on n.id = e.id and n.attempt > e.attempt
  where e.state in ('c', 'f', 'x') and e.id not in (select id from probe.revived)
  union all
  select format('job %s was said to be cancelled', c.id) from probe.cancelled c
  where not exists (select from probe.ended e where e.id = c.id and e.state = 'x')
  union all
  select format('job %s ended as %s but is %s', n.id, n.state, millrace.job_state(n.id))
  from newest n where states and n.state in ('c', 'f', 'x') and millrace.job_state(n.id) <> millrace.end_name(n.state);
end $$;
`
