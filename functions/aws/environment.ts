// What the roles on Lambda find in their environment, and the connections that they keep while they are warm.

import { MillraceError } from '../../core/errors.ts'
import { type PostgresSql, postgresSql } from '../node/postgres-sql.ts'

/** @throws {MillraceError} `invalid_configuration` when there is none */
export function required(name: string): string {
  const value = process.env[name]
  if (value) return value
  throw new MillraceError('invalid_configuration', `${name} is not set in the function's environment`)
}

/** An environment runs one invocation at a time; `tick` renews its presence beside a claim. */
const CONNECTIONS = 2
/** A statement on a connection that was lost while the environment was frozen may never be answered. */
const PATIENCE_SECONDS = 15

/** Postgres, directly or through a pooler in transaction mode: no session state, no named statements. */
export const lambdaDatabase = (applicationName: string): PostgresSql =>
  postgresSql(required('DATABASE_URL'), {
    ...{ max: CONNECTIONS, prepare: false, patienceSeconds: PATIENCE_SECONDS },
    applicationName,
  })

/** `MILLRACE_SCHEMA`, for those who chose another one than `millrace`. */
export const schemaOption = (): { schema?: string } =>
  process.env.MILLRACE_SCHEMA ? { schema: process.env.MILLRACE_SCHEMA } : {}

/** One line of JSON in the function's log: what happened, without payloads. */
export function logLine(event: { readonly type: string; readonly error?: unknown; readonly cause?: unknown }): void {
  const { error, cause, ...rest } = event
  const failure = error ?? cause
  const message = failure instanceof Error ? `${failure.name}: ${failure.message}` : undefined
  console.error(JSON.stringify({ ...rest, ...(message !== undefined && { error: message }) }))
}
