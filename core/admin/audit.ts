// What operators did.

import type { Json } from '../json.ts'
import type { Calls, Page, PageOptions } from './calls.ts'

/** All that is given must hold. */
export interface AuditFilter {
  readonly actor?: string | undefined
  /** `job.cancel`, or `job` for all that begin like that. */
  readonly action?: string | undefined
  /** ISO 8601: at or after. */
  readonly since?: Date | string | undefined
  /** Before. */
  readonly until?: Date | string | undefined
}

/** One action. */
export interface AuditEntry {
  readonly id: number
  /** ISO 8601. */
  readonly at: string
  /** Who: `key:<name>` of an API key, whoever the program was told, else the login. */
  readonly actor: string
  /** The user of the database that did it, whatever the actor is called. */
  readonly login: string
  readonly action: string
  /** Ids, names and parameters. */
  readonly detail: Readonly<Record<string, Json>>
}

export class Audit {
  readonly #calls: Calls

  constructor(calls: Calls) {
    this.#calls = calls
  }

  /** One page, newest first; kept for a year (`audit_retention_seconds`). @throws {MillraceError} `invalid_request` */
  async list(filter: AuditFilter = {}, { limit, cursor }: PageOptions = {}): Promise<Page<AuditEntry>> {
    const call = 'list_audit($1::text::jsonb, $2::text, $3::text::int)'
    return (await this.#calls.value(call, [JSON.stringify(filter), cursor ?? null, limit ?? null])) as Page<AuditEntry>
  }
}
