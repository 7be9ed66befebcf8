// The port through which payloads are encoded before they leave a process, and the helpers that decode them again.

import { MillraceError } from './errors.ts'
import type { Json } from './json.ts'

/** What a payload belongs to. */
export interface PayloadContext {
  /** The job's kind. */
  readonly kind: string
}

/**
 * Makes of payloads what travels and is stored: arguments, results and checkpoints. {@link decode} gets values that were
 * never encoded as well (of jobs enqueued in plain SQL, or before there was a codec), and answers them as they are.
 */
export interface PayloadCodec {
  /** From JSON text to JSON text. */
  encode(text: string, context: PayloadContext): string | Promise<string>
  /** @throws {MillraceError} `codec_failed` */
  decode(value: Json, context: PayloadContext): Json | Promise<Json>
}

/** A job, a dispatch or a webhook's `data`: whatever has payloads, and says of which kind they are. */
interface HoldsPayloads {
  readonly kind?: unknown
  readonly args?: unknown
  readonly result?: unknown
  readonly progress?: unknown
}

/**
 * The same with its arguments, its result and its checkpoint decoded: for what `getJob` or the admin module answer, and for
 * webhooks, which carry payloads as they are stored.
 *
 * @throws {MillraceError} `codec_failed`
 * @example
 * const { event } = await verifyWebhookRequest(request, secret)
 * const { result } = await decodePayloads(codec, event.data)
 */
export async function decodePayloads<T extends HoldsPayloads>(codec: PayloadCodec, from: T): Promise<T> {
  const { kind } = from
  if (typeof kind !== 'string') codecFailed('What holds the payloads does not say of which kind they are')
  const decoded = async (value: unknown) => codec.decode(value as Json, { kind })
  const [args, result, progress] = await Promise.all([
    from.args === undefined ? undefined : decoded(from.args),
    from.result === undefined ? undefined : decoded(from.result),
    openCheckpoint(codec, kind, from.progress),
  ])
  return {
    ...from,
    ...(args !== undefined && { args }),
    ...(result !== undefined && { result }),
    ...(progress !== undefined && { progress }),
  }
}

/** Encoded checkpoints stand under one name, since the metadata of progress is merged name by name. */
const CHECKPOINT = 'millrace:checkpoint'

interface HoldsMetadata {
  readonly metadata?: { readonly [key: string]: Json | undefined } | undefined
}

/** Progress with its metadata encoded; percent and message stay readable for whoever watches. */
export async function sealCheckpoint<T extends HoldsMetadata>(
  codec: PayloadCodec,
  kind: string,
  progress: T,
): Promise<T> {
  if (progress.metadata === undefined) return progress
  const encoded = JSON.parse(await codec.encode(JSON.stringify(progress.metadata), { kind })) as Json
  return { ...progress, metadata: { [CHECKPOINT]: encoded } }
}

/** The reverse. What is beside the encoded checkpoint was set before there was a codec. */
export async function openCheckpoint<T>(codec: PayloadCodec, kind: string, progress: T): Promise<T> {
  const { metadata } = (progress ?? {}) as HoldsMetadata
  if (metadata?.[CHECKPOINT] === undefined) return progress
  const { [CHECKPOINT]: encoded, ...rest } = metadata
  const decoded = await codec.decode(encoded as Json, { kind })
  return { ...progress, metadata: { ...rest, ...(decoded as object) } }
}

/** @throws {MillraceError} always: `codec_failed` */
export function codecFailed(message: string, options: { hint?: string; cause?: unknown } = {}): never {
  throw new MillraceError('codec_failed', message, options)
}

/** What marks the envelopes of Millrace's own codecs. */
export const MARKS = { encrypted: 'millrace:enc', reference: 'millrace:ref' } as const

/** Of any version. */
export const isEnvelope = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.values(MARKS).some(mark => Object.hasOwn(value, mark))

/** The fields of an envelope: an object with that mark, in version 1. Undefined for anything else. */
export function envelopeIn<Fields>(value: Json, mark: string): Partial<Fields> | undefined {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, mark)) return undefined
  const version = (value as Record<string, Json>)[mark]
  if (version !== 'v1')
    codecFailed(`A payload is enveloped as ${mark} ${JSON.stringify(version)?.slice(0, 40)}, which is not known here`)
  return value as Partial<Fields>
}
