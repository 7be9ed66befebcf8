// The database port over postgres.js: statements, and LISTEN on a connection of its own.

import postgres from 'postgres'
import type { Listener, Sql, SqlValue } from '../../core/sql.ts'

export interface PostgresSqlOptions {
  /** Connections at most: 10. LISTEN takes one more, once it is used. */
  readonly max?: number | undefined
  /**
   * Named prepared statements: true. Turn them off behind a pooler in transaction mode that does not follow them
   * (PgBouncer before 1.21); each statement with parameters then takes two round trips.
   */
  readonly prepare?: boolean | undefined
  /** Shown in pg_stat_activity: `millrace`. */
  readonly applicationName?: string | undefined
  /** Seconds after which an idle connection is closed; never unless given. */
  readonly idleTimeoutSeconds?: number | undefined
}

export interface PostgresSql extends Sql, Listener {
  /** Lets running statements finish, for at most `timeoutSeconds` (5), and closes every connection. */
  end(timeoutSeconds?: number): Promise<void>
}

/**
 * Connects to Postgres through postgres.js, on first use.
 *
 * A statement whose connection breaks is rejected and never repeated, since it may have been carried out: repeating
 * is up to the caller. The next statement opens a new connection, after a backoff that postgres.js grows to 20 s while
 * the server refuses connections. LISTEN reconnects by itself; what was notified in between is lost, so `heard` is
 * called once with an empty payload after every reconnection.
 */
export function postgresSql(url: string, options: PostgresSqlOptions = {}): PostgresSql {
  const sql = postgres(url, {
    max: options.max ?? 10,
    fetch_types: false,
    prepare: options.prepare ?? true,
    idle_timeout: options.idleTimeoutSeconds,
    onnotice: () => undefined,
    connection: { application_name: options.applicationName ?? 'millrace' },
    // Times stay text: a Date would cut microseconds off.
    types: { date: { to: 1184, from: [1082, 1114, 1184], serialize: String, parse: (text: string) => text } },
  })
  const prepare = options.prepare ?? true
  return {
    query: async <Row>(text: string, params: readonly SqlValue[] = []) => [
      ...(await sql.unsafe<Row[] & Record<string, unknown>[]>(text, params.map(asText), { prepare })),
    ],
    listen: (channel, heard) => listen(sql, channel, heard),
    end: (timeoutSeconds = 5) => sql.end({ timeout: timeoutSeconds }),
  }
}

const asText = (value: SqlValue): string | null => (value === null ? null : String(value))

async function listen(sql: postgres.Sql, channel: string, heard: (payload: string) => void) {
  let connections = 0
  const { unlisten } = await sql.listen(channel, heard, () => {
    connections++
    if (connections > 1) heard('')
  })
  return unlisten
}
