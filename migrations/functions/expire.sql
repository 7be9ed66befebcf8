-- Deletes up to `max_rows` each of dead letters and archived jobs whose retention is over, and gives up the unique keys that
-- nothing is left to hold. Answers how many jobs.
create function millrace.expire(epoch bigint, max_rows int) returns int language plpgsql as $$
declare
  gone bigint[];
begin
  perform millrace.require_leader(epoch);
  perform millrace.expire_follow_up_problems(max_rows);
  perform millrace.expire_deliveries(max_rows);
  perform millrace.expire_audit(max_rows);
  perform millrace.expire_api_keys();
  with letters as (
    delete from millrace.dead_letter where id in (
      select id from millrace.dead_letter where expires_at <= now() order by expires_at limit max_rows for update skip locked)
    returning id
  ), jobs as (
    delete from millrace.archive where id in (
      select id from millrace.archive where expires_at <= now() order by expires_at limit max_rows for update skip locked)
    returning id
  )
  select array_agg(id) into gone from (select id from letters union all select id from jobs) ids;
  perform millrace.forget_events(gone);
  delete from millrace.unique_lock u where u.key in (
    select l.key from millrace.unique_lock l where l.job = any (gone) and not millrace.key_counts(l) for update skip locked);
  return coalesce(cardinality(gone), 0);
end $$;
