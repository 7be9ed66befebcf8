// What goes wrong with a request, and the one map from an error's code to the status of the answer.

import { isDataError } from '../database-errors.ts'
import { MillraceError } from '../errors.ts'

export type ApiErrorCode = keyof typeof STATUS
export type ApiStatus = (typeof STATUS)[ApiErrorCode]

/** Of the codes that a request can be answered with. Those with `invalid_` are the engine's own. */
export const STATUS = {
  invalid_request: 400,
  invalid_kind: 400,
  invalid_queue: 400,
  invalid_priority: 400,
  invalid_max_attempts: 400,
  invalid_run_at: 400,
  invalid_tags: 400,
  invalid_metadata: 400,
  invalid_args: 400,
  invalid_ordering_key: 400,
  invalid_rate_key: 400,
  invalid_unique: 400,
  invalid_event: 400,
  invalid_endpoint: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  unique_conflict: 409,
  not_retryable: 409,
  not_movable: 409,
  idempotency_conflict: 409,
  api_key_exists: 409,
  endpoint_exists: 409,
  endpoint_declared: 409,
  endpoint_disabled: 409,
  already_ended: 409,
  payload_too_large: 413,
  body_too_large: 413,
  unsupported_media_type: 415,
  url_too_long: 414,
  too_many_events: 429,
  too_many_requests: 429,
  /** The database is away, or does not have what it should. */
  unavailable: 503,
} as const

interface ProblemOptions {
  readonly hint?: string | undefined
  readonly cause?: unknown
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** Ends the handling of a request with `{"error": {"code", "message", "hint"?}}`. */
export class Problem extends Error {
  readonly code: ApiErrorCode
  readonly hint: string | undefined
  readonly headers: Readonly<Record<string, string>>

  constructor(code: ApiErrorCode, message: string, { hint, cause, headers }: ProblemOptions = {}) {
    super(message, { cause })
    this.code = code
    this.hint = hint
    this.headers = { ...HEADERS[STATUS[code]], ...headers }
  }

  get status(): ApiStatus {
    return STATUS[this.code]
  }

  response(): Response {
    const { code, message, hint, status, headers } = this
    return Response.json({ error: { code, message, ...(hint !== undefined && { hint }) } }, { status, headers })
  }
}

const HEADERS: Readonly<Partial<Record<ApiStatus, Record<string, string>>>> = {
  401: { 'www-authenticate': 'Bearer' },
  429: { 'retry-after': '60' },
  503: { 'retry-after': '1' },
}

export const notFound = (what: string): Problem => new Problem('not_found', `There is no such ${what} (any more)`)

/** One and the same whatever is wrong with a key, so that it does not tell which ones there are. */
export const unauthorized = (): Problem =>
  new Problem('unauthorized', 'An API key is needed: Authorization: Bearer mk_…')

/**
 * Whatever was thrown. What the engine refuses is told in its words; Postgres's own words stay here, in `cause`, and so
 * does everything that is not the caller's fault: that may go better a little later.
 */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error
  if (error instanceof MillraceError && Object.hasOwn(STATUS, error.code) && error.code !== 'unavailable') {
    const code = error.code as ApiErrorCode
    return new Problem(code, publicMessage(error), { hint: error.hint, cause: error })
  }
  if (isDataError(error)) return new Problem('invalid_request', 'The database cannot hold this value', { cause: error })
  return new Problem('unavailable', 'The database cannot be asked now, try again', { cause: error })
}

/** What the engine's SQL says begins with its name; anything else that comes from the database is Postgres's own. */
function publicMessage({ message, cause }: MillraceError): string {
  if (message.startsWith('millrace: ')) return message.slice('millrace: '.length)
  return cause === undefined ? message : 'The database cannot hold this value'
}
