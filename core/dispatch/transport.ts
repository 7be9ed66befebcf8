// The port through which dispatches leave: one POST, one answer, and a clear word on whether it may have arrived.

import { bindingOf } from '../target-url.ts'

export interface DispatchRequest {
  /** `https://host[:port]`, or `binding://NAME` of a service binding */
  readonly origin: string
  /** Path and query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
  readonly timeoutMs: number
  /** Fires when the dispatcher gives the request up. */
  readonly signal: AbortSignal
}

export interface Answer {
  readonly status: number
  /** The value of a header, by its lower-case name. */
  header(name: string): string | undefined
  /** As text, cut off at {@link ANSWER_LIMIT}. */
  readonly body: string
  /** True when the body was longer than that. */
  readonly truncated: boolean
}

/** Longest answer that is read, in bytes. */
export const ANSWER_LIMIT = 1024 * 1024

/** Redirects are not followed, answers of any status resolve. */
export interface Transport {
  /** @throws {TransportError} when there is no whole answer */
  post(request: DispatchRequest): Promise<Answer>
}

/** No whole answer came. */
export class TransportError extends Error {
  /**
   * `connect`, `timeout`, `connection_lost` or `aborted`; or what keeps it from being sent at all: `target_refused` (the
   * address is not allowed), `tls_required`, `no_binding`, `secret_missing` or `identity_unavailable`.
   */
  readonly code: string
  /** False when the function certainly has not seen the request; true when it may have. */
  readonly sent: boolean

  constructor(code: string, message: string, sent: boolean) {
    super(message)
    this.name = 'TransportError'
    this.code = code
    this.sent = sent
  }
}

/** What a transport answers to a service binding that it does not have; undefined for other origins. */
export function noBinding({ origin }: DispatchRequest): TransportError | undefined {
  const name = bindingOf(origin)
  return name === undefined
    ? undefined
    : new TransportError('no_binding', `jobs are not sent from where there is a service binding ${name}`, false)
}
