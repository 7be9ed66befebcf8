// Objects of the caller's that are named like ours, in a schema of its own or a temporary one: functions never find them.

import postgres from 'postgres'
import { expect, onTestFinished, test } from 'vitest'
import { useRoles } from '../support/roles.ts'

const database = useRoles()

/** Everything that the functions use without a schema before it, as far as a caller can make it. */
const ATTACK = `
create schema evil;
create table evil.caught (who text, via text);
grant usage on schema evil to public; grant all on evil.caught to public;
create function evil.catch(via text) returns void language plpgsql as $$
begin
  if current_user <> session_user then insert into evil.caught values (current_user, via); end if;
end $$;
create function evil.now() returns timestamptz language plpgsql as $$ begin perform evil.catch('now'); return pg_catalog.now(); end $$;
create function evil.texteq(a text, b text) returns boolean language plpgsql as $$
begin perform evil.catch('='); return a operator(pg_catalog.=) b; end $$;
create operator evil.= (leftarg = text, rightarg = text, function = evil.texteq);
create function evil.arrow(a jsonb, b text) returns jsonb language plpgsql as $$
begin perform evil.catch('->'); return a operator(pg_catalog.->) b; end $$;
create operator evil.-> (leftarg = jsonb, rightarg = text, function = evil.arrow);
create function evil.nextval(regclass) returns bigint language plpgsql as $$ begin perform evil.catch('nextval'); return 1; end $$;
create function evil.pg_notify(text, text) returns void language plpgsql as $$ begin perform evil.catch('pg_notify'); end $$;
create function evil.current_setting(text) returns text language plpgsql as $$
begin perform evil.catch('current_setting'); return pg_catalog.current_setting($1); end $$;
create table evil.setting (name text, value bigint);
create table evil.job_log (like millrace.job_log);
create table evil.runtime (sleeping boolean);
`

const TEMPORARY = `
create temp table setting (name text, value bigint);
create temp table job_log (id bigint);
create temp table now (x int);
create temp table pg_class (x int);
create function pg_temp.now() returns timestamptz language plpgsql as $$ begin perform evil.catch('pg_temp'); return pg_catalog.now(); end $$;
`

/** One session of an application that wants more than it may. */
async function attacker(before: (client: postgres.Sql) => Promise<unknown> = async () => undefined) {
  const client = postgres(database.url('enqueuer'), { max: 1, fetch_types: false, onnotice: () => undefined })
  onTestFinished(() => client.end())
  await before(client)
  await client.unsafe(TEMPORARY)
  await client`set search_path = evil, pg_temp, pg_catalog, millrace`
  return client
}

const work = async (client: postgres.Sql): Promise<string> => {
  const [row] =
    await client`select millrace.enqueue('work', '{"a": 1}', queue => 'q', tags => '{t}', unique_key => null)::text as id`
  const id = String(row?.id)
  await client`select millrace.job(${id}::text::bigint), millrace.job_state(${id}::text::bigint)`
  await client`select id from millrace.enqueue_many('[{"kind": "work", "unique_key": "k"}, {"kind": "work", "rate_key": "r"}]') id`
  await client`select * from millrace.cancel_by_key('k')`
  await client`select * from millrace.cancel(array[${id}::text::bigint])`
  return id
}

const alterAll = (clause: string) =>
  database.as('owner').unsafe(`do $$
    declare name text;
    begin
      for name in select oid::regprocedure from pg_proc where pronamespace = 'millrace'::regnamespace and prosecdef loop
        execute format('alter function %s ${clause}', name);
      end loop;
    end $$`)

const caught = () => database.sql`select distinct who, via from evil.caught order by via`

test('a caller with a search path of its own changes nothing, whether plans are cached or not', async () => {
  await database.sql.unsafe(`drop schema if exists evil cascade; ${ATTACK}`).simple()
  const fresh = await attacker()
  const id = await work(fresh)
  const warm = await attacker(work)
  await work(warm)
  expect(await caught()).toEqual([])
  const [job] = await database.as('reader')`select millrace.job(${id}::text::bigint) as job`
  expect(job?.job).toMatchObject({ kind: 'work', args: { a: 1 }, queue: 'q', tags: ['t'], state: 'cancelled' })
})

test('without the pinned search path the attack works, so that it would have been seen', async () => {
  await database.sql.unsafe(`drop schema if exists evil cascade; ${ATTACK}`).simple()
  await alterAll('reset search_path')
  await work(await attacker())
  expect(await caught()).toContainEqual({ who: database.user('owner'), via: '=' })
  await alterAll('set search_path = pg_catalog, pg_temp')
  await database.sql`truncate evil.caught`
  await work(await attacker())
  expect(await caught()).toEqual([])
})
