// Errors with stable codes: what a caller may match on. Messages may change, codes do not.

/** Every code that Millrace raises. */
export type ErrorCode =
  | 'invalid_kind'
  | 'invalid_queue'
  | 'invalid_priority'
  | 'invalid_max_attempts'
  | 'invalid_run_at'
  | 'invalid_tags'
  | 'invalid_metadata'
  | 'invalid_args'
  | 'invalid_ordering_key'
  | 'invalid_rate_key'
  | 'invalid_unique'
  | 'unique_conflict'
  | 'payload_too_large'
  | 'invalid_declaration'
  | 'invalid_endpoint'
  | 'endpoint_exists'
  | 'endpoint_declared'
  | 'endpoint_disabled'
  | 'api_key_exists'
  | 'invalid_configuration'
  | 'invalid_keyring'
  | 'codec_failed'
  | 'invalid_signature'
  | 'invalid_callback_id'
  | 'invalid_request'
  | 'body_too_large'
  | 'body_consumed'
  | 'unsupported_encoding'
  | 'method_not_allowed'
  | 'unknown_kind'
  | 'busy'
  | 'draining'
  | 'stale_timestamp'
  | 'not_found'
  | 'attempt_closed'
  | 'deadline_exceeded'
  | 'cancelled'
  | 'non_retryable'
  | 'retry_later'
  | 'snoozed'
  | 'waiting'
  | 'timeout'
  | 'callback_undelivered'
  | 'schema_missing'
  | 'schema_too_new'
  | 'schema_too_old'
  | 'schema_not_empty'
  | 'migration_changed'
  | 'migration_blocked'
  | 'unsupported_server'
  | 'missing_dependency'
  | 'data_directory_in_use'
  | 'unsupported_driver'
  | 'not_leader'
  | 'invalid_event'
  | 'invalid_expression'
  | 'too_many_events'
  | 'already_ended'
  | 'too_many_requests'
  | 'url_too_long'
  | 'unavailable'

/** An error of Millrace's own. `hint` says what to do about it, where there is something to do. */
export class MillraceError extends Error {
  readonly code: ErrorCode
  readonly hint: string | undefined

  constructor(code: ErrorCode, message: string, options: { hint?: string | undefined; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'MillraceError'
    this.code = code
    this.hint = options.hint
  }
}
