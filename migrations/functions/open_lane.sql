-- The lane of a queue, priority and shard; registers it when it is new, without waiting for anybody who does the same.
create function millrace.open_lane(queue text, priority int, shard int default 0) returns bigint language plpgsql as $$
#variable_conflict use_column
declare
  lane bigint;
begin
  select l.id into lane from millrace.lane l
  where l.queue = open_lane.queue and l.priority = open_lane.priority and l.shard = open_lane.shard limit 1;
  if lane is null then
    lane := hashtextextended(queue, priority * 64 + shard);
    if exists (select from millrace.lane l where l.id = lane and (l.queue, l.priority, l.shard) <> (open_lane.queue, open_lane.priority, open_lane.shard)) then
      raise exception 'millrace: the names of two queues have the same hash; rename queue %', queue using errcode = 'unique_violation';
    end if;
    insert into millrace.lane (id, queue, priority, shard) values (lane, queue, priority, shard);
  end if;
  return lane;
end $$;

-- Jobs with the same ordering key are in the same shard; those without one are spread, a transaction at a time.
-- Plain SQL, so that the planner inlines it.
create function millrace.shard_of(ordering_key text, shards int) returns int language sql stable as $$
  select ((coalesce(hashtextextended(ordering_key, 0), pg_current_xact_id()::text::bigint) & 9223372036854775807) % shards)::int
$$;
