-- To whom a job belongs: its metadata say so.

create function millrace.tenant_of(metadata jsonb) returns text language sql immutable as $$
  select metadata ->> 'tenant'
$$;

-- Those of the jobs that are there and belong to a tenant, as a JSON array.
create function millrace.jobs_of_tenant(ids bigint[], tenant text) returns jsonb language sql as $$
  select coalesce(jsonb_agg(u order by u), '[]') from (select distinct u from unnest(ids) u) d(u) where millrace.tenant_of_job(u) = tenant
$$;

-- Null: to none, or there is no such job.
create function millrace.tenant_of_job(job bigint) returns text language plpgsql volatile as $$
declare
  found_one record;
begin
  for look in 1..2 loop -- see millrace.job
    select millrace.tenant_of(n.metadata) as tenant into found_one from millrace.newest(job) n;
    exit when found;
    select millrace.tenant_of(a.job -> 'metadata') as tenant into found_one from millrace.archive a where a.id = tenant_of_job.job;
    exit when found;
  end loop;
  return found_one.tenant;
end $$;
