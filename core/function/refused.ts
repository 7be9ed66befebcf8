// Dispatches that are not run, and what is answered to them.

import { type ErrorCode, MillraceError } from '../errors.ts'
import { HEADER } from '../wire.ts'

/**
 * By default a dispatcher takes 4xx for final. So the refusals that are no fault of the job are either 5xx or 429, or
 * say `Millrace-No-Retry: false`: a job must not be lost to a deploy that came too late or a key that was mixed up.
 */
const ANSWERS = {
  method_not_allowed: { status: 405, headers: { allow: 'POST' } },
  body_too_large: { status: 413 },
  // What was signed is not what would be read; a proxy's doing, or that of a server that is not set up for this.
  unsupported_encoding: { status: 415, headers: { [HEADER.noRetry]: 'false' } },
  body_consumed: { status: 500 },
  invalid_request: { status: 400 },
  invalid_args: { status: 422 },
  invalid_signature: { status: 401, headers: { [HEADER.noRetry]: 'false' } },
  stale_timestamp: { status: 401, headers: { [HEADER.noRetry]: 'false' } },
  codec_failed: { status: 500 },
  // Not 404: the function that knows the kind is most likely about to be deployed.
  unknown_kind: { status: 501 },
  busy: { status: 429, headers: { 'retry-after': '1' } },
  draining: { status: 503, headers: { 'retry-after': '1' } },
} as const satisfies Partial<Record<ErrorCode, { status: number; headers?: Record<string, string> }>>

export type RefusalCode = keyof typeof ANSWERS

/** What came is not taken. {@link response} is what to answer. */
export class Refused extends MillraceError {
  declare readonly code: RefusalCode
  readonly detail: object

  constructor(code: RefusalCode, message: string, detail: object = {}, options: { hint?: string } = {}) {
    super(code, message, options)
    this.name = 'Refused'
    this.detail = detail
  }

  /** `{"error", "code", …}` with the code's status and headers. A new one each time. */
  response(): Response {
    return refusal(this)
  }
}

/** `{"error", "code", …}` with the code's status and headers. */
export function refusal({ code, message, detail }: Refused): Response {
  const answer: { status: number; headers?: Record<string, string> } = ANSWERS[code]
  return Response.json({ error: message, code, ...detail }, answer)
}
