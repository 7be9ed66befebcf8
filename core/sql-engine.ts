// The engine's verbs over the Sql port: each method is one call of the SQL function of the same name.

import { translatingErrors } from './database-errors.ts'
import type { Delivered, DeliverItem, EndpointRow } from './delivery-report.ts'
import type {
  AttemptRef,
  Beat,
  CallbackStore,
  Closed,
  CloseItem,
  EventItem,
  EventTaken,
  HeartbeatItem,
  Outcome,
  Tried,
  Waited,
  WaitItem,
} from './engine.ts'
import type { ClaimedJob, JobView, KindRow, Rescued } from './engine-rows.ts'
import { exactJson } from './exact-json.ts'
import type { Json } from './json.ts'
import { arrayLiteral, quoteIdentifier, type Sql, type SqlValue } from './sql.ts'
import type { WaitRules } from './wire.ts'

/** Which SQL outcome, and which details, stand for an {@link Outcome}. */
function outcomeRow(outcome: Outcome): [name: string, detail: object | null] {
  switch (outcome.kind) {
    case 'completed':
      return ['completed', outcome.result === undefined && !outcome.error ? null : detailOf(outcome)]
    case 'failed':
      return [outcome.retryable ? 'retry' : 'fail', { error: outcome.error, delay_ms: outcome.delayMs }]
    case 'put_back':
      return ['put_back', { error: outcome.error, delay_ms: outcome.delayMs }]
    case 'snoozed':
      return ['snooze', { delay_ms: outcome.delayMs }]
    case 'released':
      return ['release', null]
  }
}

const detailOf = ({ result, error }: Extract<Outcome, { kind: 'completed' }>) => ({ result, error })

const jsonOrNull = (value: unknown): string | null => (value === undefined ? null : JSON.stringify(value))

const STATE: Readonly<Record<string, Closed['state']>> = {
  c: 'completed',
  f: 'failed',
  r: 'retryable',
  s: 'available',
  x: 'cancelled',
}

const COMPLETED: Closed = { state: 'completed', fresh: true }

const columns = (items: readonly AttemptRef[]): [string, string, string] => [
  arrayLiteral(items.map(item => item.segment)),
  arrayLiteral(items.map(item => item.id)),
  arrayLiteral(items.map(item => item.attempt)),
]

/** What `close` has to say of an attempt, unless it simply has completed it. */
interface Exception {
  readonly nth: string
  readonly state: string | null
  readonly fresh: boolean
  readonly result: string | null
}

/** Parameters of `close`. */
function closing(items: readonly CloseItem[]): SqlValue[] {
  const rows = items.map(item => outcomeRow(item.outcome))
  const details = rows.map(([, detail]) => detail)
  return [
    ...columns(items),
    arrayLiteral(rows.map(([name]) => name)),
    details.every(detail => detail === null) ? null : JSON.stringify(details),
  ]
}

function closedBy(items: readonly CloseItem[], exceptions: readonly Exception[]): Closed[] {
  const closed = new Array<Closed>(items.length).fill(COMPLETED)
  for (const { nth, state, fresh, result } of exceptions) {
    closed[Number(nth) - 1] = {
      state: STATE[state ?? ''] ?? 'unknown',
      fresh,
      ...(result === null ? {} : { result: exactJson(result) as Json }),
      // Of what this call has completed, nothing else is worth an answer.
      ...(state === 'c' && fresh && { resultTooLarge: true as const }),
    }
  }
  return closed
}

const REFS = '$1::text::bigint[], $2::text::bigint[], $3::text::int[]'

/** The engine in one schema of one database. Errors of the database are {@link MillraceError}s where they have a code. */
export class SqlEngine implements CallbackStore {
  readonly #sql: Sql
  readonly #schema: string

  constructor(sql: Sql, options: { readonly schema?: string } = {}) {
    this.#sql = sql
    this.#schema = quoteIdentifier(options.schema ?? 'millrace')
  }

  /** Claims up to `max` jobs for a runtime; on record before it answers. */
  claim(runtime: string, max: number, exceptQueues: readonly string[] = []): Promise<ClaimedJob[]> {
    return this.#query(
      `select segment, id, attempt, max_attempts, kind, queue, args, metadata, progress,
         (extract(epoch from enqueued_at) * 1000)::float8 as enqueued_ms
       from ${this.#schema}.claim($1::text::bigint, $2::text::int, $3::text::jsonb)`,
      [runtime, max, exceptQueues.length === 0 ? null : JSON.stringify(exceptQueues)],
    )
  }

  async close(items: readonly CloseItem[]): Promise<Closed[]> {
    const exceptions = await this.#query<Exception>(
      `select nth, state, fresh, result from ${this.#schema}.close(${REFS}, $4::text::text[], $5::text::jsonb)`,
      closing(items),
    )
    return closedBy(items, exceptions)
  }

  /** Closes attempts of webhook deliveries, puts them on their log, and disables endpoints that are gone or only ever fail. */
  async deliver(items: readonly DeliverItem[]): Promise<Delivered[]> {
    const exceptions = await this.#query<Exception & { disabled: Delivered['disabled'] | null }>(
      `select nth, state, fresh, result, disabled
       from ${this.#schema}.deliver(${REFS}, $4::text::text[], $5::text::jsonb, $6::text::jsonb)`,
      [...closing(items), JSON.stringify(items.map(({ report }) => report))],
    )
    const closed: Delivered[] = closedBy(items, exceptions)
    for (const { nth, disabled } of exceptions)
      if (disabled) closed[Number(nth) - 1] = { ...(closed[Number(nth) - 1] as Closed), disabled }
    return closed
  }

  /** Records that functions accepted these attempts; their callbacks are due within `timeoutSeconds`. */
  async park(items: readonly AttemptRef[], timeoutSeconds: number): Promise<void> {
    await this.#query(`select ${this.#schema}.park(${REFS}, $4::text::float8)`, [...columns(items), timeoutSeconds])
  }

  async heartbeat(items: readonly HeartbeatItem[]): Promise<Beat[]> {
    const rows = await this.#query<{ state: string | null; granted_seconds: number | null }>(
      `select state, granted_seconds from ${this.#schema}.heartbeat(${REFS}, $4::text::float8[], $5::text::jsonb) order by nth`,
      [
        ...columns(items),
        arrayLiteral(items.map(item => item.timeoutSeconds)),
        JSON.stringify(items.map(item => item.progress ?? null)),
      ],
    )
    return rows.map(({ state, granted_seconds }) => ({
      state: state === 'p' ? 'waiting_external' : (STATE[state ?? ''] ?? 'unknown'),
      ...(granted_seconds !== null && { timeoutSeconds: granted_seconds }),
    }))
  }

  /** Lets an open attempt wait for a named event; one that came before is applied at once. */
  async wait(item: WaitItem, tried?: Tried): Promise<Waited> {
    const [row] = await this.#query<{ answer: string; state: string | null; events: string | null }>(
      `select answer, state, events::text as events
       from ${this.#schema}.wait($1::text::bigint, $2::text::bigint, $3::text::int, $4::text, $5::text::float8, $6::text,
         $7::text::jsonb, $8::text::jsonb, $9::text::bigint, $10::text::jsonb)`,
      [
        ...[item.segment, item.id, item.attempt, item.name, item.timeoutSeconds, item.onTimeout],
        ...[jsonOrNull(item.rules), jsonOrNull(item.progress), tried?.seen ?? null, jsonOrNull(tried?.verdict)],
      ],
    )
    const { answer, state, events } = row as NonNullable<typeof row>
    return { answer, state: STATE[state ?? ''], ...(events !== null && { events: exactJson(events) }) } as Waited
  }

  /** Sends a named event to a job: to the attempt that waits for it, or the one that will. */
  async sendEvent({ job, name, payload, action, forAttempt }: EventItem): Promise<EventTaken> {
    const [row] = await this.#query<{ answer: string; state: string; attempt: number; rules: string | null }>(
      `select answer, state, attempt, rules::text as rules
       from ${this.#schema}.send_event($1::text::bigint, $2::text, $3::text::jsonb, $4::text, $5::text::int)`,
      [job, name, jsonOrNull(payload), action, forAttempt ?? null],
    )
    const { rules, ...taken } = row as NonNullable<typeof row>
    return { ...taken, ...(rules !== null && { rules: JSON.parse(rules) as WaitRules }) } as EventTaken
  }

  /** Makes due deferred jobs available. `nextInMs`: until the next is due, undefined when none is deferred. */
  async promote(max: number): Promise<{ promoted: number; nextInMs: number | undefined }> {
    const [row] = await this.#query<{ promoted: number; next_in_ms: number | null }>(
      `select promoted, (extract(epoch from next_at - clock_timestamp()) * 1000)::float8 as next_in_ms
       from ${this.#schema}.promote($1::text::int)`,
      [max],
    )
    return { promoted: row?.promoted ?? 0, nextInMs: row?.next_in_ms ?? undefined }
  }

  /** Milliseconds until a job may be claimed that waits for its queue's rate only; undefined: none does. */
  async limitedMs(): Promise<number | undefined> {
    const [row] = await this.#query<{ ms: number | null }>(
      `select (extract(epoch from ${this.#schema}.limited_until() - clock_timestamp()) * 1000)::float8 as ms`,
    )
    return row?.ms ?? undefined
  }

  /** Retries attempts that nobody will close any more, up to `max` of either sort; `stuck` ones cannot be closed for now. */
  async rescue(max: number): Promise<Rescued> {
    const rows = await this.#query<Rescued>(`select parked, lost, stuck from ${this.#schema}.rescue($1::text::int)`, [
      max,
    ])
    return rows[0] ?? { parked: 0, lost: 0, stuck: 0 }
  }

  /** One job by its id; undefined when there is none (any more). */
  async job(id: string | number): Promise<JobView | undefined> {
    const [row] = await this.#query<{ job: JobView | null }>(`select ${this.#schema}.job($1::text::bigint) as job`, [
      id,
    ])
    return row?.job ?? undefined
  }

  async runtimeStart(name: string): Promise<string> {
    const [row] = await this.#query<{ id: string }>(`select ${this.#schema}.runtime_start($1::text) as id`, [name])
    return row?.id ?? ''
  }

  /** Milliseconds within which the next beat is due; undefined when this runtime was given up and must start anew. */
  async runtimeBeat(runtime: string): Promise<number | undefined> {
    const [row] = await this.#query<{ seconds: number | null }>(
      `select ${this.#schema}.runtime_beat($1::text::bigint) as seconds`,
      [runtime],
    )
    return typeof row?.seconds === 'number' ? row.seconds * 1000 : undefined
  }

  async runtimeStop(runtime: string): Promise<void> {
    await this.#query(`select ${this.#schema}.runtime_stop($1::text::bigint)`, [runtime])
  }

  async runtimeSleep(runtime: string, sleeping: boolean): Promise<void> {
    await this.#query(`select ${this.#schema}.runtime_sleep($1::text::bigint, $2::text::boolean)`, [runtime, sleeping])
  }

  /** After `runtimeSleep(…, true)`: the mark that {@link quiet} is asked about. */
  async sleepHorizon(): Promise<string> {
    const [row] = await this.#query<{ horizon: string }>(`select ${this.#schema}.sleep_horizon() as horizon`)
    return row?.horizon ?? '0'
  }

  /** True once every transaction that may have missed the sleeping flag has ended. */
  async quiet(horizon: string): Promise<boolean> {
    const [row] = await this.#query<{ quiet: boolean }>(`select ${this.#schema}.quiet($1::text) as quiet`, [horizon])
    return row?.quiet ?? false
  }

  kinds(): Promise<KindRow[]> {
    return this.#query(`select name, time_limit_seconds, target from ${this.#schema}.kinds()`)
  }

  /** What is known of the endpoints that there are of these names. */
  deliveryRoutes(names: readonly string[]): Promise<EndpointRow[]> {
    return this.#query(
      `select name, tenant, url, disabled_reason, to_jsonb(secrets) as secrets from ${this.#schema}.delivery_routes($1::text::jsonb)`,
      [JSON.stringify(names)],
    )
  }

  #query<Row>(text: string, params: readonly SqlValue[] = []): Promise<Row[]> {
    return translatingErrors(() => this.#sql.query<Row>(text, params))
  }
}
