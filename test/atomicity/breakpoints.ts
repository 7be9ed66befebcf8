// Sessions that die at a given step: after any statement that writes, also inside of a function, or at commit.

import pg from 'pg'
import type postgres from 'postgres'

/** Counts the steps of a session, and ends it at the one it was told. */
const INSTALL = `
create schema probe;
create function probe.step() returns trigger language plpgsql as $$
declare
  step int := coalesce(nullif(current_setting('probe.step', true), ''), '0')::int + 1;
begin
  perform set_config('probe.step', step::text, false);
  if step = nullif(current_setting('probe.last', true), '')::int then
    perform pg_terminate_backend(pg_backend_pid()), pg_sleep(5);
  end if;
  return null;
end $$;
do $$
declare
  place text;
begin
  for place in
    select c.oid::regclass from pg_class c
    where c.relnamespace = 'millrace'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
  loop
    execute format('create trigger step after insert or update or delete on %s for each statement execute function probe.step()', place);
  end loop;
end $$;
create constraint trigger step_at_commit after insert on millrace.outcome_log deferrable initially deferred
  for each row execute function probe.step()`

export const installBreakpoints = async (sql: postgres.Sql): Promise<void> => void (await sql.unsafe(INSTALL))

type Work = (session: pg.Client) => Promise<unknown>

const open = async (url: string): Promise<pg.Client> => {
  const session = new pg.Client({ connectionString: url })
  session.on('error', () => undefined)
  await session.connect()
  return session
}

/** Does work to its end in one session; answers in how many steps. */
export async function counter(url: string) {
  const session = await open(url)
  const steps = async (work: Work): Promise<number> => {
    await session.query("select set_config('probe.step', '0', false)")
    await work(session)
    const { rows } = await session.query("select current_setting('probe.step')::int as steps")
    return rows[0].steps
  }
  return { steps, end: () => session.end() }
}

/** Begins work in a session that ends at a step; true when the work nevertheless came to its end. */
export async function dieAt(url: string, step: number, work: Work): Promise<boolean> {
  const session = await open(url)
  const ended = new Promise<void>(resolve => session.on('end', resolve))
  await session.query("select set_config('probe.last', $1, false)", [step])
  const finished = await work(session).then(
    () => true,
    () => false,
  )
  await session.end().catch(() => undefined)
  await ended
  return finished
}
