// The verbs of the maintenance loops over the Sql port: leadership, and what only the leader may do.

import { translatingErrors } from './database-errors.ts'
import { quoteIdentifier, type Sql, type SqlValue } from './sql.ts'

/** The lease of the maintenance role's leader, which `require_leader` asks for. */
export const MAINTENANCE_LEASE = 'maintenance'

/** Each method is one call of the SQL function of the same name. `epoch` is what {@link MaintenanceEngine.lead} answered. */
export class MaintenanceEngine {
  readonly #sql: Sql
  readonly #schema: string

  constructor(sql: Sql, options: { readonly schema?: string } = {}) {
    this.#sql = sql
    this.#schema = quoteIdentifier(options.schema ?? 'millrace')
  }

  /** Takes or renews the lease for so many seconds. Answers the epoch; undefined while somebody else has it. */
  async lead(holder: string, seconds: number, name = MAINTENANCE_LEASE): Promise<string | undefined> {
    const epoch = await this.#value<string | null>('lead($1::text, $2::text, $3::text::float8)', [
      name,
      holder,
      seconds,
    ])
    return epoch ?? undefined
  }

  /** Gives the lease up and wakes those who sleep. Answers whether `holder` had it. */
  async resign(holder: string, name = MAINTENANCE_LEASE): Promise<boolean> {
    return (await this.#value<boolean>('resign($1::text, $2::text)', [name, holder])) === true
  }

  /** @throws {MillraceError} `not_leader` when the epoch is not the present leader's, or its lease is over */
  async requireLeader(epoch: string): Promise<void> {
    await this.#value('require_leader($1::text::bigint)', [epoch])
  }

  async #value<T>(call: string, params: readonly SqlValue[]): Promise<T | undefined> {
    const [row] = await translatingErrors(() =>
      this.#sql.query<{ value: T }>(`select ${this.#schema}.${call} as value`, params),
    )
    return row?.value
  }
}
