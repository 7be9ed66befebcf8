// What pg_dump and a restore do to the data: every table's rows, as text, into another server's schema of the same shape.

import { pipeline } from 'node:stream/promises'
import type postgres from 'postgres'

/** Copies all rows and the positions of all sequences of the schema `millrace`; the target's own rows are replaced. */
export async function restoreInto(source: postgres.Sql, target: postgres.Sql): Promise<void> {
  const tables = await source<{ name: string }[]>`
    select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'millrace' and c.relkind = 'r'`
  await target.unsafe(`truncate ${tables.map(({ name }) => name).join(', ')}`)
  for (const { name } of tables) {
    const from = await source.unsafe(`copy ${name} to stdout`).readable()
    await pipeline(from, await target.unsafe(`copy ${name} from stdin`).writable())
  }
  const sequences = await source<{ name: string; last: string | null }[]>`
    select format('%I.%I', schemaname, sequencename) as name, last_value::text as last from pg_sequences where schemaname = 'millrace'`
  for (const { name, last } of sequences) if (last) await target`select setval(${name}::regclass, ${last}::bigint)`
}
