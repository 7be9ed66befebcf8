-- Records that functions have accepted these attempts and will close them by callback before the deadline. An attempt
-- whose callback was quicker has its outcome already; parking it changes nothing.
create function millrace.park(segments bigint[], ids bigint[], attempts int[], timeout_seconds float8) returns void language plpgsql as $$
begin
  perform millrace.hold_segments();
  if exists (select from millrace.carried) then
    segments := millrace.follow(segments, ids, attempts);
  end if;
  insert into millrace.park_log (deadline, slot, ids, attempts, span)
  select clock_timestamp() + make_interval(secs => timeout_seconds), (u.segment % 8)::smallint, array_agg(u.id), array_agg(u.attempt),
    int8range(min(u.id), max(u.id), '[]')
  from unnest(segments, ids, attempts) as u(segment, id, attempt)
  group by 2;
end $$;
