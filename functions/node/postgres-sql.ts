// The database port over postgres.js: statements, and LISTEN on a connection of its own.

import postgres from 'postgres'
import { MillraceError } from '../../core/errors.ts'
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
  /**
   * Rejects a statement as `unavailable` that has had no answer for so many seconds; waits for ever unless given. For
   * processes that run for long: jobs in hand whose statement is never answered would be nobody's to rescue.
   */
  readonly patienceSeconds?: number | undefined
}

export interface PostgresSql extends Sql, Listener {
  /** Lets running statements finish, for at most `timeoutSeconds` (5), and closes every connection. */
  end(timeoutSeconds?: number): Promise<void>
}

/** Terminated backends count as failures too, so postgres.js's own 20 s would be long after the server is back. */
const LONGEST_BACKOFF_SECONDS = 3

/**
 * Connects to Postgres through postgres.js, on first use.
 *
 * A statement whose connection breaks is rejected and never repeated, since it may have been carried out: repeating
 * is up to the caller. The next statement opens a new connection, after a backoff of at most {@link LONGEST_BACKOFF_SECONDS}
 * while the server refuses connections. LISTEN reconnects by itself; what was notified in between is lost, so `heard` is
 * called once with an empty payload after every reconnection.
 */
export function postgresSql(url: string, options: PostgresSqlOptions = {}): PostgresSql {
  const sql = postgres(url, {
    max: options.max ?? 10,
    fetch_types: false,
    prepare: options.prepare ?? true,
    idle_timeout: options.idleTimeoutSeconds,
    backoff: (failures: number) => Math.min(0.02 * 2 ** failures, LONGEST_BACKOFF_SECONDS),
    onnotice: () => undefined,
    connection: { application_name: options.applicationName ?? 'millrace' },
    // Times stay text: a Date would cut microseconds off.
    types: { date: { to: 1184, from: [1082, 1114, 1184], serialize: String, parse: (text: string) => text } },
  })
  const { prepare = true, patienceSeconds = 0 } = options
  return {
    query: async <Row>(text: string, params: readonly SqlValue[] = []) => {
      const rows = sql.unsafe<Row[] & Record<string, unknown>[]>(text, params.map(asText), { prepare })
      return [...(await within(patienceSeconds * 1_000, rows))]
    },
    listen: (channel, heard) => listen(sql, channel, heard),
    end: (timeoutSeconds = 5) => sql.end({ timeout: timeoutSeconds }),
  }
}

/** What was given up may have been carried out, as on a connection that broke. 0: never. */
async function within<T>(ms: number, answer: PromiseLike<T>): Promise<T> {
  if (ms === 0) return answer
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new MillraceError('unavailable', `No answer within ${ms / 1_000} s`)), ms)
  try {
    return await Promise.race([answer, promise])
  } finally {
    clearTimeout(timer)
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
