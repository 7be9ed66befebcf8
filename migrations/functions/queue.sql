-- What operators do to queues, and what follows from a change of a queue's row, whoever makes it.

-- Nothing of the queue is claimed from now on. What runs goes on; jobs are enqueued, promoted and retried as ever.
create function millrace.pause_queue(name text, by text default null) returns void language plpgsql as $$
begin
  if length(name) not between 1 and 200 then
    perform millrace.refuse('invalid_queue', 1, null);
  end if;
  insert into millrace.queue as q (name, paused_at, paused_by) values (pause_queue.name, now(), by)
  on conflict on constraint queue_pkey do update set paused_at = excluded.paused_at, paused_by = excluded.paused_by where q.paused_at is null;
end $$;

-- Answers whether the queue was paused.
create function millrace.resume_queue(name text) returns boolean language plpgsql as $$
begin
  update millrace.queue q set paused_at = null, paused_by = null where q.name = resume_queue.name and q.paused_at is not null;
  return found;
end $$;

create function millrace.queue_before() returns trigger language plpgsql as $$
begin
  new.limited_since := case
    when new.max_running is null then null
    when tg_op = 'UPDATE' and old.max_running is not null then old.limited_since
    else clock_timestamp() end;
  return new;
end $$;
create trigger queue_before before insert or update on millrace.queue for each row execute function millrace.queue_before();

-- Jobs may be free to go: whoever sleeps looks again, and the lines of keys are worked out anew.
create function millrace.queue_after() returns trigger language plpgsql as $$
begin
  if (new.key_rate, new.key_burst) is distinct from (old.key_rate, old.key_burst) then
    update millrace.rate_bucket b set next_at = now() from (
      select id from millrace.rate_bucket where queue = new.name and next_at is not null
      order by key collate "C" for update -- the order in which promote locks them
    ) waiting where b.id = waiting.id;
  end if;
  perform millrace.wake();
  return null;
end $$;
create trigger queue_after after update on millrace.queue for each row execute function millrace.queue_after();
