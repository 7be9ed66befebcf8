// A connection for one request or one slice of work: on Workers none may outlive what opened it.

import postgres from 'postgres'
import { toSql } from '../../core/drivers.ts'
import type { Sql } from '../../core/sql.ts'
import { type Patience, patient } from './patience.ts'

/** What a Worker asks the database with. Connects on first use. */
export interface WorkerDatabase extends Sql {
  /** Closes the connection, if there is one; called once the answer is known. */
  end(): Promise<void>
}

export interface PostgresDatabaseOptions extends Patience {
  /** Shown in pg_stat_activity: `millrace`. */
  readonly applicationName?: string | undefined
  /** Named prepared statements, which save a round trip when a statement is repeated: false. Hyperdrive follows them. */
  readonly prepare?: boolean | undefined
}

const CONNECT_SECONDS = 10

/**
 * Through postgres.js: over a Hyperdrive binding's `connectionString`, or straight to a server.
 *
 * @example
 * callbacksWorker<Env>(env => ({ database: postgresDatabase(env.DB.connectionString), keyring: env.MILLRACE_KEYS }))
 */
export function postgresDatabase(url: string, options: PostgresDatabaseOptions = {}): WorkerDatabase {
  const sql = postgres(url, {
    max: 1,
    fetch_types: false,
    connect_timeout: CONNECT_SECONDS,
    onnotice: () => undefined,
    connection: { application_name: options.applicationName ?? 'millrace' },
    // Times stay text: a Date would cut microseconds off.
    types: { date: { to: 1184, from: [1082, 1114, 1184], serialize: String, parse: (text: string) => text } },
  })
  return {
    ...patient(toSql(sql, { prepare: options.prepare ?? false }), options),
    // At once: what was given up must not be carried out later after all.
    end: () => sql.end({ timeout: 0 }),
  }
}
