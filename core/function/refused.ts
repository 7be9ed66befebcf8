// Dispatches that are not run, and what is answered to them.

import type { ErrorCode } from '../errors.ts'
import { HEADER } from '../wire.ts'

/** Codes of answers; beside the errors' own, those that only a receiver gives. */
export type RefusalCode = ErrorCode | 'method_not_allowed' | 'unknown_kind' | 'busy' | 'draining'

/**
 * By default a dispatcher takes 4xx for final. So the refusals that are no fault of the job are either 5xx or 429, or
 * say `Millrace-No-Retry: false`: a job must not be lost to a deploy that came too late or a key that was mixed up.
 */
const ANSWERS = {
  method_not_allowed: { status: 405, headers: { allow: 'POST' } },
  body_too_large: { status: 413 },
  invalid_request: { status: 400 },
  invalid_args: { status: 422 },
  invalid_signature: { status: 401, headers: { [HEADER.noRetry]: 'false' } },
  stale_timestamp: { status: 401, headers: { [HEADER.noRetry]: 'false' } },
  // Not 404: the function that knows the kind is most likely about to be deployed.
  unknown_kind: { status: 501 },
  busy: { status: 429, headers: { 'retry-after': '1' } },
  draining: { status: 503, headers: { 'retry-after': '1' } },
} as const satisfies Partial<Record<RefusalCode, { status: number; headers?: Record<string, string> }>>

export class Refused extends Error {
  readonly code: keyof typeof ANSWERS
  readonly detail: object

  constructor(code: keyof typeof ANSWERS, message: string, detail: object = {}) {
    super(message)
    this.code = code
    this.detail = detail
  }
}

/** `{"error", "code", …}` with the code's status and headers. */
export function refusal({ code, message, detail }: Refused): Response {
  const answer: { status: number; headers?: Record<string, string> } = ANSWERS[code]
  return Response.json({ error: message, code, ...detail }, answer)
}
