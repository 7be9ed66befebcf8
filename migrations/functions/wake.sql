-- Wakes dispatchers that sleep. Called after the insert of work, in a statement of its own: a dispatcher falls asleep
-- only once every transaction that may have missed its flag has ended (see runtime.sql), so nobody needs to notify a busy
-- one. A transaction with one snapshot for all its statements cannot see the flag's latest state, so it always notifies.
create function millrace.wake(reason text default '') returns void language plpgsql as $$
begin
  if exists (select from millrace.runtime where sleeping) or current_setting('transaction_isolation') <> 'read committed' then
    perform pg_notify('millrace_wake', reason);
  end if;
end $$;
