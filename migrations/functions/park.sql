-- Records that functions have accepted these attempts and will close them by callback before the deadline. An attempt
-- whose callback was quicker has its outcome already; parking it changes nothing.
create function millrace.park(segments bigint[], ids bigint[], attempts int[], timeout_seconds float8) returns void language plpgsql as $$
declare
  news bigint[]; -- which of them wait from now on, where somebody listens
begin
  perform millrace.hold_segments();
  if exists (select from millrace.carried) then
    segments := millrace.follow(segments, ids, attempts);
  end if;
  if exists (select from millrace.endpoint) or exists (select from millrace.follow_up) then
    news := millrace.unparked(segments, ids, attempts);
  end if;
  insert into millrace.park_log (deadline, slot, ids, attempts, span)
  select clock_timestamp() + make_interval(secs => timeout_seconds), (u.segment % 8)::smallint, array_agg(u.id), array_agg(u.attempt),
    int8range(min(u.id), max(u.id), '[]')
  from unnest(segments, ids, attempts) as u(segment, id, attempt)
  group by 2;
  if news is not null then
    perform millrace.announce(segments, ids, attempts, news, waiting => true);
  end if;
end $$;

-- Which of these attempts (counted from 1) are open and have not been accepted before.
create function millrace.unparked(segments bigint[], ids bigint[], attempts int[]) returns bigint[] language sql stable
set jit = off set enable_seqscan = off as $$
  select array_agg(first.nth)
  from (
    select min(u.nth) as nth, (u.segment % 8)::smallint as slot, u.id, u.attempt
    from unnest(segments, ids, attempts) with ordinality u(segment, id, attempt, nth) group by 2, 3, 4
  ) first
  where not exists (select from millrace.outcome_log o where o.slot = first.slot and o.id = first.id and o.attempt = first.attempt)
    and not exists (select from millrace.park_log p where p.slot = first.slot and p.span @> first.id
      and (first.id, first.attempt) in (select * from unnest(p.ids, p.attempts)))
$$;
