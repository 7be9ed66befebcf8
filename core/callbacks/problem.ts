// What goes wrong with a callback, and the answer to it.

import { isDataError } from '../database-errors.ts'
import { type ErrorCode, MillraceError } from '../errors.ts'
import { ANSWER_HEADERS } from '../request-limits.ts'

type ProblemCode = Extract<
  ErrorCode,
  | 'invalid_signature'
  | 'stale_timestamp'
  | 'body_too_large'
  | 'payload_too_large'
  | 'invalid_request'
  | 'invalid_event'
  | 'invalid_expression'
  | 'not_found'
  | 'attempt_closed'
  | 'already_ended'
  | 'too_many_events'
  | 'too_many_requests'
  | 'url_too_long'
  | 'unavailable'
>

type ProblemStatus = 400 | 401 | 404 | 405 | 409 | 413 | 414 | 422 | 429 | 503

/** The statuses of what waits and events are refused with. */
const STATUS: Partial<Record<ErrorCode, ProblemStatus>> = {
  invalid_request: 422,
  invalid_event: 422,
  invalid_expression: 422,
  payload_too_large: 413,
  not_found: 404,
  already_ended: 409,
  too_many_events: 429,
}

const RETRY_AFTER: Partial<Record<ProblemStatus, string>> = { 429: '60', 503: '1' }

/** Ends the handling of a callback with `{"error", "code", …}`. */
export class Problem extends Error {
  readonly status: ProblemStatus
  readonly code: ProblemCode | 'method_not_allowed'
  readonly detail: object
  /** Seconds. */
  readonly retryAfter: string | undefined

  constructor(
    status: ProblemStatus,
    code: Problem['code'],
    message: string,
    detail: object = {},
    retryAfter: string | undefined = RETRY_AFTER[status],
  ) {
    super(message)
    this.status = status
    this.code = code
    this.detail = detail
    this.retryAfter = retryAfter
  }

  response(): Response {
    const headers: Record<string, string> = { ...ANSWER_HEADERS }
    if (this.retryAfter !== undefined) headers['retry-after'] = this.retryAfter
    if (this.status === 405) headers.allow = 'POST'
    return Response.json({ error: this.message, code: this.code, ...this.detail }, { status: this.status, headers })
  }
}

/** One and the same for every forgery, so that it does not tell which ids, keys or attempts exist. */
export const unauthorized = (): Problem => new Problem(401, 'invalid_signature', 'Not a signed callback')

/** Whatever was thrown. A value that Postgres refuses will not get better by trying again; everything else might. */
export function problemOf(error: unknown, what: 'callback' | 'event' = 'callback'): Problem {
  return error instanceof Problem ? error : (refusalOf(error) ?? storeProblem(error, what))
}

/** What waits and events are refused with is told in our words: those of the engine begin with its name. */
function refusalOf(error: unknown): Problem | undefined {
  if (!(error instanceof MillraceError)) return undefined
  const status = STATUS[error.code]
  const isOurs = error.cause === undefined || error.message.startsWith('millrace: ')
  if (status === undefined || !isOurs) return undefined
  return new Problem(status, error.code as ProblemCode, error.message.replace(/^millrace: /, ''))
}

function storeProblem(error: unknown, what: string): Problem {
  const problem = isDataError(error)
    ? new Problem(422, 'invalid_request', 'The database cannot hold this value')
    : new Problem(503, 'unavailable', `The ${what} could not be recorded, try again`)
  problem.cause = error
  return problem
}
