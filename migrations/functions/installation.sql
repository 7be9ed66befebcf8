-- What this schema is: for checks of its health.

-- The migrations on record; number 0 stands for all functions.
create function millrace.migrations() returns table (number int, name text, checksum text) language sql stable as $$
  select m.number, m.name, m.checksum from millrace.migration m
$$;

-- Whether the open jobs were brought here from another server, and nobody has taken them over yet (see attach.sql).
create function millrace.is_restored() returns boolean language sql stable as $$
  select c.identifier <> s.system_identifier from millrace.cluster c, pg_control_system() s
$$;
