// What enqueueing sends: a declared kind, checked arguments and options become the parameters of millrace.enqueue.

import { parseArgs } from './args.ts'
import type { PayloadCodec } from './codec.ts'
import { type ErrorCode, MillraceError } from './errors.ts'
import type { Json } from './json.ts'
import { jsonText } from './json-text.ts'
import type { ArgsOf, Kind } from './kind.ts'
import { tenantKey } from './tenant.ts'
import { debounceSeconds, type Identified, type UniqueRow, type UniqueSettings, uniqueRow } from './unique.ts'

/** Per job; each overrides what the kind declares. The limits are checked by the database. */
export interface EnqueueOptions extends UniqueSettings {
  /** At most 200 characters. */
  readonly queue?: string | undefined
  /** 1 (first) to 4 (last). */
  readonly priority?: number | undefined
  /** Not before this instant. Not together with `delaySeconds`. */
  readonly runAt?: Date | undefined
  /** Not before this many seconds after the transaction began, by the database's clock. */
  readonly delaySeconds?: number | undefined
  /** 1 to 1000. */
  readonly maxAttempts?: number | undefined
  /** At most 20. */
  readonly tags?: readonly string[] | undefined
  /** Travels with the job and with every dispatch of it; at most a few KiB. */
  readonly metadata?: { readonly [key: string]: Json | undefined } | undefined
  /**
   * To whom the job belongs, 1 to 200 characters: `metadata.tenant`, by which webhook endpoints and API keys go. Its unique keys
   * are the tenant's own.
   */
  readonly tenant?: string | undefined
  /** Jobs with the same one are claimed in the order of their enqueueing, however many shards their queue has. */
  readonly orderingKey?: string | undefined
  /** Jobs with the same one share the rate that their queue declares per key. */
  readonly rateKey?: string | undefined
}

const MOST_TENANT = 200
/** 10,000 years: no interval of the database holds much more. */
const LONGEST_DELAY_SECONDS = 315_360_000_000

/** A job to be enqueued; make it with {@link job}. */
export interface Job<K extends Kind = Kind> {
  readonly kind: K
  readonly args: ArgsOf<K>
  readonly options: EnqueueOptions
}

/**
 * One entry for `enqueueMany`.
 *
 * @example
 * await enqueueMany(tx, orders.map(order => job(renderReceipt, { orderId: order.id })))
 */
export const job = <K extends Kind>(kind: K, args: ArgsOf<K>, options: EnqueueOptions = {}): Job<K> => ({
  kind,
  args,
  options,
})

/** A job as millrace.enqueue's parameters: checked, in the database's names; `null` leaves it to the kind's row. */
export interface JobRow extends UniqueRow {
  readonly kind: string
  /** JSON text, like `metadata`. */
  readonly args: string
  readonly queue: string | null
  readonly priority: number | null
  readonly run_at: string | null
  readonly delay_seconds: number | null
  readonly max_attempts: number | null
  readonly tags: readonly string[] | null
  readonly metadata: string | null
  readonly ordering_key: string | null
  readonly rate_key: string | null
}

/**
 * Validates a job before anything is sent. The arguments go out as the caller gave them, not as the schema's output:
 * the function validates them again, and a schema need not accept what it puts out. They are encoded last, when nothing else
 * is wrong; a unique key is made of them as they were.
 *
 * @throws {MillraceError} `invalid_args`, `codec_failed`, `invalid_metadata`, `invalid_run_at`, `invalid_priority`,
 *   `invalid_max_attempts`, `invalid_unique`, `invalid_ordering_key`, `invalid_rate_key`
 */
export async function toRow({ kind, args, options }: Job, codec?: PayloadCodec): Promise<JobRow> {
  await parseArgs(kind, args)
  const queue = storable(options.queue ?? kind.queue, 'invalid_queue', 'Queue')
  const row = {
    kind: kind.name,
    args: jsonText(args, 'invalid_args', `Arguments of "${kind.name}"`),
    queue,
    priority: int4(options.priority ?? kind.priority, 'invalid_priority'),
    run_at: instant(options.runAt),
    delay_seconds: seconds(options.delaySeconds ?? debounceSeconds(options)),
    max_attempts: int4(options.maxAttempts ?? kind.maxAttempts, 'invalid_max_attempts'),
    tags: storable(options.tags, 'invalid_tags', 'Tags'),
    metadata: metadataText(options),
    ordering_key: storable(options.orderingKey, 'invalid_ordering_key', 'Ordering key'),
    rate_key: storable(options.rateKey, 'invalid_rate_key', 'Rate key'),
    ...uniqueOf(options, { kind, args, queue }),
  }
  return codec === undefined ? row : { ...row, args: await codec.encode(row.args, { kind: kind.name }) }
}

function uniqueOf(options: EnqueueOptions, job: Identified): UniqueRow {
  const row = uniqueRow(options, job, Date.now())
  const { unique_key: key } = row
  return key === null || options.tenant === undefined ? row : { ...row, unique_key: tenantKey(options.tenant, key) }
}

function metadataText({ metadata, tenant }: EnqueueOptions): string | null {
  if (tenant === undefined) return metadata === undefined ? null : jsonText(metadata, 'invalid_metadata', 'Metadata')
  if (typeof tenant !== 'string' || tenant === '' || tenant.length > MOST_TENANT)
    throw new MillraceError('invalid_metadata', `A tenant has 1 to ${MOST_TENANT} characters`)
  if (metadata?.tenant !== undefined && metadata.tenant !== tenant)
    throw new MillraceError('invalid_metadata', 'tenant and metadata.tenant are not the same')
  return jsonText({ ...metadata, tenant }, 'invalid_metadata', 'Metadata')
}

/** Text that Postgres would refuse or that UTF-8 would alter is refused here, where its code is known. */
function storable<T>(value: T | undefined, code: ErrorCode, what: string): T | null {
  if (value === undefined) return null
  jsonText(value, code, what)
  return value
}

function instant(runAt: Date | undefined): string | null {
  if (runAt === undefined) return null
  if (Number.isNaN(runAt.getTime())) throw new MillraceError('invalid_run_at', 'runAt is not a valid date')
  return runAt.toISOString()
}

function seconds(delay: number | undefined): number | null {
  if (delay === undefined) return null
  if (!(Math.abs(delay) <= LONGEST_DELAY_SECONDS)) throw new MillraceError('invalid_run_at', `delaySeconds is ${delay}`)
  return delay
}

/** Only what a cast to `int` would garble is refused here. */
function int4(value: number | undefined, code: ErrorCode): number | null {
  if (value === undefined) return null
  if (value !== (value | 0)) throw new MillraceError(code, `${value} is not a whole number`)
  return value
}
