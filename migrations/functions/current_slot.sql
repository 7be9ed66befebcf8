-- The slot of the segment that takes new work.
create function millrace.current_slot() returns smallint language sql stable as $$
  select (number % 8)::smallint from millrace.segment order by number desc limit 1
$$;
