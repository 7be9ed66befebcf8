-- Deletes up to `max_rows` each of dead letters and archived jobs whose retention is over. Answers how many.
create function millrace.expire(epoch bigint, max_rows int) returns int language plpgsql as $$
declare
  letters int;
  jobs int;
begin
  perform millrace.require_leader(epoch);
  delete from millrace.dead_letter where id in (
    select id from millrace.dead_letter where expires_at <= now() order by expires_at limit max_rows for update skip locked);
  get diagnostics letters = row_count;
  delete from millrace.archive where id in (
    select id from millrace.archive where expires_at <= now() order by expires_at limit max_rows for update skip locked);
  get diagnostics jobs = row_count;
  return letters + jobs;
end $$;
