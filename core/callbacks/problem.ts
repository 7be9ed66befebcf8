// What goes wrong with a callback, and the answer to it.

import type { ErrorCode } from '../errors.ts'

type ProblemCode = Extract<
  ErrorCode,
  'invalid_signature' | 'stale_timestamp' | 'body_too_large' | 'invalid_request' | 'not_found' | 'attempt_closed'
>

type ProblemStatus = 400 | 401 | 404 | 405 | 409 | 413 | 422 | 503

/** Ends the handling of a callback with `{"error", "code", …}`. */
export class Problem extends Error {
  readonly status: ProblemStatus
  readonly code: ProblemCode | 'method_not_allowed' | 'unavailable'
  readonly detail: object

  constructor(status: ProblemStatus, code: Problem['code'], message: string, detail: object = {}) {
    super(message)
    this.status = status
    this.code = code
    this.detail = detail
  }

  response(): Response {
    const headers: Record<string, string> = {}
    if (this.status === 503) headers['retry-after'] = '1'
    if (this.status === 405) headers.allow = 'POST'
    return Response.json({ error: this.message, code: this.code, ...this.detail }, { status: this.status, headers })
  }
}

/** One and the same for every forgery, so that it does not tell which ids, keys or attempts exist. */
export const unauthorized = (): Problem => new Problem(401, 'invalid_signature', 'Not a signed callback')
