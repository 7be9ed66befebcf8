-- The public name of a job's end; null for the end of an attempt after which the job goes on.
create function millrace.end_name(state "char") returns text language sql immutable as $$
  select case state when 'c' then 'completed' when 'f' then 'failed' when 'x' then 'cancelled' end
$$;
