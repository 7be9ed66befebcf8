// The same over a client of the user's own: Neon's over WebSockets, or any other that is used as pg's is.

import { toSql } from '../../core/drivers.ts'
import type { Sql } from '../../core/sql.ts'
import type { WorkerDatabase } from './database.ts'
import { type Patience, patient } from './patience.ts'

/** What is used of `Client` of `@neondatabase/serverless` and of `pg`. */
export interface DatabaseClient {
  connect(): Promise<unknown>
  query(text: string, params?: never[]): Promise<unknown>
  end(): Promise<unknown>
  on(event: 'error', listener: (error: Error) => void): unknown
}

/**
 * Over a client that has not connected yet.
 *
 * @example
 * import { Client } from '@neondatabase/serverless'
 * callbacksWorker<Env>(env => ({ database: clientDatabase(new Client(env.DATABASE_URL)), keyring: env.MILLRACE_KEYS }))
 */
export function clientDatabase(client: DatabaseClient, options: Patience = {}): WorkerDatabase {
  let connected: Promise<unknown> | undefined
  // A connection that breaks fails the statement under way; without a listener it would be thrown at nobody.
  client.on('error', () => undefined)
  const sql = toSql(client)
  const connecting: Sql = {
    async query(text, params) {
      connected ??= client.connect()
      await connected
      return sql.query(text, params)
    },
  }
  return {
    ...patient(connecting, options),
    async end() {
      if (connected !== undefined) await client.end()
    },
  }
}
