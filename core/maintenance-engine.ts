// The verbs of the maintenance loops over the Sql port: leadership, and what only the leader may do.

import { translatingErrors } from './database-errors.ts'
import { quoteIdentifier, type Sql, type SqlValue } from './sql.ts'

/** The lease of the maintenance role's leader, which `require_leader` asks for. */
const MAINTENANCE_LEASE = 'maintenance'

/** What the leader does when {@link MaintenanceEngine.pulse} says that it is time. */
export type Chore = 'rotate' | 'prune' | 'survey' | 'batches' | 'expire'

/** Milliseconds each; undefined: nothing to wait for. */
export interface PulseAnswer {
  /** Within which the next pulse is due; undefined when this runtime was given up and must start anew. */
  readonly beatMs: number | undefined
  /** What this process leads under. */
  readonly epoch: string | undefined
  /** Until somebody else's lease is over. */
  readonly leaseMs: number | undefined
  readonly promoteMs: number | undefined
  readonly rescueMs: number | undefined
  readonly fireMs: number | undefined
  /** Asked for while asleep only: jobs wait to be claimed. */
  readonly work: boolean
  readonly chores: readonly Chore[]
}

export interface PulseQuestion {
  readonly runtime: string
  /** Under which name this process would lead; undefined: it does not want to. */
  readonly holder: string | undefined
  /** It pulses at least that often. */
  readonly everyMs: number
  /** It polls for nothing and has nothing in hand. */
  readonly asleep: boolean
}

/** Unclaimed jobs had to be brought forward before a segment can be pruned. */
export interface Forwarded {
  readonly segment: number
  readonly forwarded: number
}

/** What became of a segment. */
export interface Pruned {
  /** Null: a slot without a segment, into which somebody had written late. */
  readonly segment: number | null
  /** Open attempts that go on in a newer segment. */
  readonly carried: number
  /** Finished jobs that are kept for longer. */
  readonly archived: number
}

interface PulseRow {
  readonly beat_ms: number | null
  readonly epoch: string | null
  readonly lease_ms: number | null
  readonly promote_ms: number | null
  readonly rescue_ms: number | null
  readonly fire_ms: number | null
  readonly work: boolean
  readonly chores: readonly Chore[] | null
}

export interface BatchProgress {
  readonly state: 'running' | 'completed'
  readonly changed: number
  readonly refused: number
}

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

  /** Says that a runtime lives, takes or renews the lease, and tells what is due. */
  async pulse({ runtime, holder, everyMs, asleep }: PulseQuestion): Promise<PulseAnswer> {
    const [row] = await translatingErrors(() =>
      this.#sql.query<PulseRow>(
        `select beat_ms, epoch, lease_ms, promote_ms, rescue_ms, fire_ms, work, to_jsonb(chores) as chores
         from ${this.#schema}.pulse($1::text::bigint, $2::text, $3::text::float8, $4::text::boolean)`,
        [runtime, holder ?? null, everyMs / 1_000, asleep],
      ),
    )
    return {
      beatMs: row?.beat_ms ?? undefined,
      epoch: row?.epoch ?? undefined,
      leaseMs: row?.lease_ms ?? undefined,
      promoteMs: row?.promote_ms ?? undefined,
      rescueMs: row?.rescue_ms ?? undefined,
      fireMs: row?.fire_ms ?? undefined,
      work: row?.work ?? false,
      chores: row?.chores ?? [],
    }
  }

  /** Opens the next segment if there is a reason to; answers its number. */
  async rotate(epoch: string): Promise<string | undefined> {
    return (await this.#value<string | null>('rotate($1::text::bigint)', [epoch])) ?? undefined
  }

  /** Empties the oldest segment if its time is over, or does the next step towards that. */
  async prune(epoch: string): Promise<Pruned | Forwarded | undefined> {
    return (await this.#value<Pruned | Forwarded | null>('prune($1::text::bigint)', [epoch])) ?? undefined
  }

  /** Looks over all lanes: what waits there, and since when. Answers how much of that has changed. */
  async survey(epoch: string): Promise<number> {
    return (await this.#value<number>('survey($1::text::bigint)', [epoch])) ?? 0
  }

  /** Deletes up to `max` each of dead letters and archived jobs whose retention is over; answers how many. */
  async expire(epoch: string, max: number): Promise<number> {
    return (await this.#value<number>('expire($1::text::bigint, $2::text::int)', [epoch, max])) ?? 0
  }

  /** The numbers of the bulk operations that are not done. */
  async openBatches(): Promise<readonly number[]> {
    return (await this.#value<readonly number[]>('open_batches()', [])) ?? []
  }

  /** Does one chunk of a bulk operation; undefined when it is done, or somebody else is at it. */
  async batchStep(id: number, epoch: string): Promise<BatchProgress | undefined> {
    const call = 'batch_step($1::text::bigint, $2::text::bigint)'
    return (await this.#value<BatchProgress | null>(call, [id, epoch])) ?? undefined
  }

  async #value<T>(call: string, params: readonly SqlValue[]): Promise<T | undefined> {
    const [row] = await translatingErrors(() =>
      this.#sql.query<{ value: T }>(`select ${this.#schema}.${call} as value`, params),
    )
    return row?.value
  }
}
