-- Who is at work: dispatchers, and holders of leases.

create function millrace.list_runtimes() returns table (
  id bigint, name text, started_at timestamptz, seen_at timestamptz, lost_at timestamptz, sleeping boolean, alive boolean
) language sql stable as $$
  select r.id, r.name, r.started_at, r.seen_at, r.lost_at, r.sleeping, r.lost_at > now() from millrace.runtime r order by r.id
$$;

-- until: null when the holder has resigned.
create function millrace.list_leaders() returns table (name text, holder text, epoch bigint, until timestamptz, alive boolean)
language sql stable as $$
  select l.name, l.holder, l.epoch, nullif(l.until, '-infinity'), l.until > now() from millrace.leader l where l.epoch > 0 order by l.name
$$;
