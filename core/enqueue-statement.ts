// The statements that enqueue: calls of millrace.enqueue and millrace.enqueue_many, every parameter as text.

import type { JobRow } from './enqueue.ts'
import { quoteIdentifier } from './sql.ts'

/** A statement with `$1` placeholders: a `pg` query config, or the two arguments of any driver's or ORM's raw query. */
export interface Statement {
  readonly text: string
  readonly values: (string | null)[]
}

type Parameter = readonly [name: string, cast: (placeholder: string) => string, value: (row: JobRow) => string | null]

const as = (type: string) => (placeholder: string) => `${placeholder}::text::${type}`
const interval = (placeholder: string): string => `make_interval(secs => ${as('float8')(placeholder)})`

const ALWAYS: readonly Parameter[] = [
  ['kind', placeholder => `${placeholder}::text`, row => row.kind],
  ['args', as('jsonb'), row => row.args],
  ['queue', placeholder => `${placeholder}::text`, row => row.queue],
  ['priority', as('int'), row => text(row.priority)],
  ['run_at', as('timestamptz'), row => row.run_at],
  ['delay', interval, row => text(row.delay_seconds)],
  ['max_attempts', as('int'), row => text(row.max_attempts)],
  ['tags', as('text[]'), row => row.tags && textArrayLiteral(row.tags)],
  ['metadata', as('jsonb'), row => row.metadata],
]

/** Sent only when given: every parameter costs each call. */
const SELDOM: readonly Parameter[] = [
  ['ordering_key', placeholder => `${placeholder}::text`, row => row.ordering_key],
  ['rate_key', placeholder => `${placeholder}::text`, row => row.rate_key],
  ['unique_key', placeholder => `${placeholder}::text`, row => row.unique_key],
  ['unique_states', as('text[]'), row => row.unique_states && textArrayLiteral(row.unique_states)],
  ['unique_for', interval, row => text(row.unique_for_seconds)],
  ['on_conflict', placeholder => `${placeholder}::text`, row => row.on_conflict],
]

// Named notation, so that the function can gain parameters; ids leave as text, because drivers disagree on int8.
export function statementForOne(schema: string, row: JobRow): Statement {
  const given = [...ALWAYS, ...SELDOM.filter(([, , value]) => value(row) !== null)]
  const list = given.map(([name, cast], n) => `${name} => ${cast(`$${n + 1}`)}`)
  return {
    text: `select ${quoteIdentifier(schema)}.enqueue(${list.join(', ')})::text as id`,
    values: given.map(([, , value]) => value(row)),
  }
}

export const statementForMany = (schema: string, rows: readonly JobRow[]): Statement => ({
  text: `select id::text as id from ${quoteIdentifier(schema)}.enqueue_many($1::text::jsonb) with ordinality as job(id, n) order by n`,
  values: [jobsJson(rows)],
})

/** As {@link statementForMany}; besides the ids, tells what became of the jobs. */
export const statementForUnique = (schema: string, rows: readonly JobRow[]): Statement => ({
  text: `select id::text as id, existing, replaced from ${quoteIdentifier(schema)}.enqueue_jobs($1::text::jsonb) with ordinality as job(id, existing, replaced, n) order by n`,
  values: [jobsJson(rows)],
})

const text = (value: number | null): string | null => (value === null ? null : String(value))

/** The literal of a Postgres `text[]`: every element quoted. */
const textArrayLiteral = (values: readonly string[]): string =>
  `{${values.map(value => `"${value.replaceAll(/["\\]/g, '\\$&')}"`).join(',')}}`

const jobsJson = (rows: readonly JobRow[]): string => `[${rows.map(rowJson).join(',')}]`

/** The element of millrace.enqueue_many's array; spliced as text, so that the arguments are serialised once. */
function rowJson(row: JobRow): string {
  const { args, metadata, ...rest } = row
  const given = Object.entries(rest).filter(([, value]) => value !== null)
  const head = JSON.stringify(Object.fromEntries(given)).slice(0, -1)
  return `${head},"args":${args}${metadata === null ? '' : `,"metadata":${metadata}`}}`
}
