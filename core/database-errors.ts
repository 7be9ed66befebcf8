// From SQLSTATEs to stable codes: the one place that knows how the engine's SQL says what is wrong.

import { type ErrorCode, MillraceError } from './errors.ts'

/** The engine raises an integrity violation (class 23), or a state that forbids it (55000), with one of these as constraint. */
const LIMITS: ReadonlySet<string> = new Set<ErrorCode>([
  'invalid_kind',
  'invalid_queue',
  'invalid_priority',
  'invalid_max_attempts',
  'invalid_run_at',
  'invalid_tags',
  'invalid_metadata',
  'invalid_args',
  'invalid_ordering_key',
  'invalid_rate_key',
  'invalid_unique',
  'unique_conflict',
  'payload_too_large',
  'invalid_declaration',
  'invalid_endpoint',
  'endpoint_exists',
  'endpoint_declared',
  'endpoint_disabled',
  'api_key_exists',
  'invalid_request',
  'invalid_event',
  'not_leader',
])

const MIGRATE = 'Run `millrace migrate` against this database, and check the schema name and the search path'

const BY_STATE: Readonly<Record<string, { code: ErrorCode; hint?: string }>> = {
  // Untranslatable character: jsonb and \u0000.
  '22P05': { code: 'invalid_args' },
  // Invalid or overflowing date, time, interval or, as Postgres reads a year above 9999, time zone.
  '22007': { code: 'invalid_run_at' },
  '22008': { code: 'invalid_run_at' },
  '22009': { code: 'invalid_run_at' },
  '22015': { code: 'invalid_run_at' },
  // Undefined function, table, schema.
  '42883': { code: 'schema_missing', hint: MIGRATE },
  '42P01': { code: 'schema_missing', hint: MIGRATE },
  '3F000': { code: 'schema_missing', hint: MIGRATE },
}

/** What drivers agree on, but for the constraint: pg and Neon say `constraint`, postgres.js `constraint_name`. */
interface DatabaseError {
  readonly code: string
  readonly message: string
  readonly hint?: string | undefined
  readonly constraint?: string | undefined
  readonly constraint_name?: string | undefined
}

/** The {@link MillraceError} that a driver's error stands for, with it as `cause`; any other error as it is. */
export function translateError(error: unknown): unknown {
  if (!isDatabaseError(error)) return error
  const known = /^(23|55000)/.test(error.code) ? limit(error) : BY_STATE[error.code]
  if (known === undefined) return error
  return new MillraceError(known.code, error.message, { hint: error.hint || known.hint, cause: error })
}

/** Runs `work`; what it rejects with is translated. */
export async function translatingErrors<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw translateError(error)
  }
}

function limit(error: DatabaseError): { code: ErrorCode; hint?: string } | undefined {
  const name = error.constraint ?? error.constraint_name
  return name !== undefined && LIMITS.has(name) ? { code: name as ErrorCode } : undefined
}

const isDatabaseError = (error: unknown): error is DatabaseError =>
  error instanceof Error && !(error instanceof MillraceError) && 'code' in error && typeof error.code === 'string'

/** SQLSTATE classes in which a value is at fault: data exception, integrity violation, program limit exceeded. */
export const isDataError = (error: unknown): boolean => hasState(error, /^(22|23|54)[0-9A-Z]{3}$/)

/** A statement that gave up waiting for a lock that another transaction holds. */
export const isLockTimeout = (error: unknown): boolean => hasState(error, /^55P03$/)

/** Of the error itself, or of what it was made of. */
function hasState(error: unknown, pattern: RegExp): boolean {
  if (!(error instanceof Error)) return false
  const code = 'code' in error ? error.code : undefined
  return (typeof code === 'string' && pattern.test(code)) || hasState(error.cause, pattern)
}
