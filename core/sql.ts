// The database port: one statement, one round trip. Drivers come in through adapters (core/drivers.ts).

/**
 * A parameter. Everything travels as text and is cast in the statement
 * (`$1::text::bigint[]`, `$2::text::jsonb`), because drivers disagree on arrays and JSON but agree on text.
 */
export type SqlValue = string | number | boolean | null

/** Runs one statement and answers its rows. `int8` comes back as a string, `jsonb` parsed, other types as text or number. */
export interface Sql {
  query<Row = Record<string, unknown>>(text: string, params?: readonly SqlValue[]): Promise<Row[]>
}

/** Hears the database's wake-ups. Optional everywhere: without it adaptive polling takes over. */
export interface Listener {
  /** Calls `heard` for every notification on `channel`; resolves once listening. The answer stops it. */
  listen(channel: string, heard: (payload: string) => void): Promise<() => Promise<void>>
}

/** The literal of a Postgres array of numbers or plain words (no quoting needed), e.g. `{1,2,3}`. */
export const arrayLiteral = (values: readonly (string | number | bigint)[]): string => `{${values.join(',')}}`

/** A name as SQL takes it, whatever is in it: `"millrace"`. */
export const quoteIdentifier = (name: string): string => `"${name.replaceAll('"', '""')}"`
