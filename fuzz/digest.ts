// A digest of the whole database: of every row of every table, and of the sequences.

import type postgres from 'postgres'

/** By table. */
export type Digest = ReadonlyMap<string, string>

/** Takes digests of one schema; tables and partitions are looked up once. */
export async function digester(sql: postgres.Sql, schema = 'millrace'): Promise<() => Promise<Digest>> {
  const tables = await sql<{ name: string }[]>`
    select relname as name from pg_class where relnamespace = ${schema}::regnamespace and relkind in ('r', 'p')
    and not relispartition order by 1`
  const each = tables.map(
    ({ name }) =>
      `select '${name}' as name, count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) as digest
       from ${schema}."${name}" t`,
  )
  const sequences = `select 'sequences', string_agg(sequencename || last_value, ',' order by sequencename)
    from pg_sequences where schemaname = '${schema}'`
  const statement = [...each, sequences].join(' union all ')
  return async () => {
    const rows = await sql.unsafe<{ name: string; digest: string }[]>(statement)
    return new Map(rows.map(({ name, digest }) => [name, digest]))
  }
}

/** The names of the tables that are not as they were. */
export const changed = (before: Digest, after: Digest): string[] =>
  [...after].filter(([name, digest]) => before.get(name) !== digest).map(([name]) => name)
