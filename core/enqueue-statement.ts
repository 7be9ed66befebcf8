// The statements that enqueue: calls of millrace.enqueue and millrace.enqueue_many, every parameter as text.

import type { JobRow } from './enqueue.ts'
import { quoteIdentifier } from './sql.ts'

/** A statement with `$1` placeholders: a `pg` query config, or the two arguments of any driver's or ORM's raw query. */
export interface Statement {
  readonly text: string
  readonly values: (string | null)[]
}

// Named notation, so that the function can gain parameters; ids leave as text, because drivers disagree on int8.
export const statementForOne = (schema: string, row: JobRow): Statement => ({
  text: `select ${quoteIdentifier(schema)}.enqueue(
  kind => $1::text, args => $2::text::jsonb, queue => $3::text, priority => $4::text::int,
  run_at => $5::text::timestamptz, delay => make_interval(secs => $6::text::float8), max_attempts => $7::text::int,
  tags => $8::text::text[], metadata => $9::text::jsonb)::text as id`,
  values: valuesOf(row),
})

export const statementForMany = (schema: string, rows: readonly JobRow[]): Statement => ({
  text: `select id::text as id from ${quoteIdentifier(schema)}.enqueue_many($1::text::jsonb) with ordinality as job(id, n) order by n`,
  values: [`[${rows.map(rowJson).join(',')}]`],
})

const valuesOf = (row: JobRow): (string | null)[] => [
  row.kind,
  row.args,
  row.queue,
  text(row.priority),
  row.run_at,
  text(row.delay_seconds),
  text(row.max_attempts),
  row.tags && textArrayLiteral(row.tags),
  row.metadata,
]

const text = (value: number | null): string | null => (value === null ? null : String(value))

/** The literal of a Postgres `text[]`: every element quoted. */
const textArrayLiteral = (values: readonly string[]): string =>
  `{${values.map(value => `"${value.replaceAll(/["\\]/g, '\\$&')}"`).join(',')}}`

/** The element of millrace.enqueue_many's array; spliced as text, so that the arguments are serialised once. */
function rowJson(row: JobRow): string {
  const { args, metadata, ...rest } = row
  const given = Object.entries(rest).filter(([, value]) => value !== null)
  const head = JSON.stringify(Object.fromEntries(given)).slice(0, -1)
  return `${head},"args":${args}${metadata === null ? '' : `,"metadata":${metadata}`}}`
}
