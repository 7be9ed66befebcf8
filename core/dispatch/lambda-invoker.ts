// The port through which functions of AWS Lambda are invoked: one invocation, and what Lambda said of it.

export interface LambdaInvocation {
  /** Name or ARN, as it was declared. */
  readonly function: string
  readonly qualifier: string | undefined
  /** The dispatcher's own unless given. */
  readonly region: string | undefined
  /** `Event`: accepted and run later. */
  readonly type: 'RequestResponse' | 'Event'
  /** JSON. */
  readonly payload: Uint8Array
  readonly timeoutMs: number
  /** Fires when the dispatcher gives the invocation up. */
  readonly signal: AbortSignal
}

/** Lambda took it. */
export interface LambdaAnswer {
  /** 200, or 202 of an event. */
  readonly status: number
  /** What the function returned, or what it failed with, as JSON. */
  readonly payload: string
  /** Set when it failed: `Unhandled`. */
  readonly functionError: string | undefined
}

/** Lambda did not take it, so that the function has not run. */
export interface LambdaRefusal {
  readonly status: number
  /** Of the exception: `TooManyRequestsException`. */
  readonly refused: string
  readonly message: string
  readonly retryAfterMs: number | undefined
}

export interface LambdaInvoker {
  /**
   * Invokes once, without repeating anything.
   *
   * @throws {TransportError} when there is no answer of Lambda: `connect`, `timeout`, `connection_lost`, `aborted`, or
   * `identity_unavailable` without credentials or region
   */
  invoke(invocation: LambdaInvocation): Promise<LambdaAnswer | LambdaRefusal>
}
