// Looking a job up, and waiting for its end.

import { decodePayloads, type PayloadCodec } from './codec.ts'
import { translatingErrors } from './database-errors.ts'
import { type Database, toSql } from './drivers.ts'
import type { JobView } from './engine-rows.ts'
import { MillraceError } from './errors.ts'
import { exactJson } from './exact-json.ts'
import { checkId } from './job-id.ts'
import type { Json } from './json.ts'
import { quoteIdentifier } from './sql.ts'

export interface GetJobOptions {
  /** The schema that `millrace migrate` was told to use: `millrace`. */
  readonly schema?: string | undefined
  /** Decodes arguments, result and checkpoint; without it they are answered as they are stored. */
  readonly codec?: PayloadCodec | undefined
  /**
   * For passing the job on as JSON: whole numbers beyond those of doubles, which are rounded otherwise, are objects that
   * `JSON.stringify` writes as they are.
   */
  readonly exact?: boolean | undefined
}

export interface WaitOptions extends GetJobOptions {
  /** Gives up after that; waits for as long as it takes unless given. */
  readonly timeoutSeconds?: number | undefined
  /** The longest pause between two looks, in milliseconds: 2000. The first ones come sooner. */
  readonly pollMs?: number | undefined
  /** Gives up when it fires. */
  readonly signal?: AbortSignal | undefined
}

/** A job that has ended. `result` is as the function gave it; nobody has checked that it is what it is said to be. */
export interface FinishedJob<Result = Json> extends JobView {
  readonly state: 'completed' | 'failed' | 'cancelled'
  readonly result: (Result & Json) | null
}

const FIRST_PAUSE_MS = 25
const LONGEST_PAUSE_MS = 2_000

/**
 * One job as it is now; undefined when there is none with that id (any more).
 *
 * @throws {MillraceError} `invalid_request` for an id that is none, `codec_failed`, `schema_missing`, `unsupported_driver`
 */
export async function getJob(
  db: Database,
  id: string | number,
  options: GetJobOptions = {},
): Promise<JobView | undefined> {
  return (await look(db, id, options, `true`))?.job
}

/**
 * Waits until a job has ended, and answers it: completed, failed or cancelled. It looks again and again, less and less
 * often, so `db` should be a pool, and not the transaction that enqueues the job, which nobody can see before its commit.
 *
 * @throws {MillraceError} `not_found` when there is no such job (any more), `timeout`, `invalid_request`, `codec_failed`,
 *   `schema_missing`, `unsupported_driver`; with the reason of `signal` when that fires
 * @example
 * const id = await enqueue(sql, renderReceipt, { orderId: 42 })
 * const { state, result, errors } = await waitFor<{ url: string }>(sql, id, { timeoutSeconds: 30 })
 */
export async function waitFor<Result = Json>(
  db: Database,
  id: string | number,
  options: WaitOptions = {},
): Promise<FinishedJob<Result>> {
  const { timeoutSeconds = Number.POSITIVE_INFINITY, pollMs = LONGEST_PAUSE_MS, signal } = options
  const giveUpAt = performance.now() + timeoutSeconds * 1_000
  for (let pause = FIRST_PAUSE_MS; ; pause *= 1.5) {
    signal?.throwIfAborted()
    const seen = await look(db, id, options, `state in ('completed', 'failed', 'cancelled')`)
    if (seen === undefined) throw new MillraceError('not_found', `No job ${id}`)
    if (seen.job !== undefined) return seen.job as FinishedJob<Result>
    const left = giveUpAt - performance.now()
    if (left <= 0) throw new MillraceError('timeout', `Job ${id} is still ${seen.state} after ${timeoutSeconds} s`)
    await sleep(Math.min(pause, pollMs, left), signal)
  }
}

/** A job's state and, where `when` holds of it, the whole job: looking at the state alone is cheaper. */
async function look(
  db: Database,
  id: string | number,
  { schema = 'millrace', codec, exact = false }: GetJobOptions,
  when: string,
): Promise<{ state: string; job: JobView | undefined } | undefined> {
  const engine = quoteIdentifier(schema)
  const text = `select state, case when ${when} then ${engine}.job($1::text::bigint)::text end as job
    from (select ${engine}.job_state($1::text::bigint) as state offset 0) seen where state is not null`
  const [row] = await translatingErrors(() =>
    toSql(db).query<{ state: string; job: string | null }>(text, [checkId(id)]),
  )
  if (row === undefined) return undefined
  const job = (exact ? exactJson : JSON.parse)(row.job ?? 'null') as JobView | null
  return { state: row.state, job: job === null ? undefined : codec ? await decodePayloads(codec, job) : job }
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done)
  })
}
