// What a function's codec does to payloads on their way in and out.

import { isEnvelope, openCheckpoint, type PayloadCodec, sealCheckpoint } from '../codec.ts'
import { MillraceError } from '../errors.ts'
import type { Json } from '../json.ts'
import type { Progress } from '../wire.ts'
import type { Ending } from './ending.ts'
import type { Dispatch } from './receive.ts'
import { Refused } from './refused.ts'

/** One job's payloads. Without a codec they are what they are. */
export interface Payloads {
  /** @throws {Refused} `codec_failed`: tried again later, when whoever mixed up the keys may have found out */
  open(dispatch: Dispatch): Promise<Dispatch>
  /** A result or checkpoint that cannot be encoded fails the attempt, which is retried. */
  sealed(ending: Ending): Promise<Ending>
  /** @throws {MillraceError} `codec_failed` */
  checkpoint(progress: Progress): Promise<Progress>
}

export function payloadsOf(codec: PayloadCodec | undefined, kind: string): Payloads {
  if (codec === undefined) return PLAIN
  return {
    async open(dispatch) {
      const { body } = dispatch
      const args = opened(await decoded(codec, body.args as Json, kind).catch(refuse))
      const progress = await openCheckpoint(codec, kind, body.progress).catch(refuse)
      return { ...dispatch, body: { ...body, args, ...(progress && { progress }) } }
    },
    async sealed(ending) {
      try {
        return await encoded(codec, kind, ending)
      } catch (error) {
        return { kind: 'failed', error: messageOf(error), code: 'codec_failed', retryable: true }
      }
    },
    checkpoint: progress => sealCheckpoint(codec, kind, progress),
  }
}

async function encoded(codec: PayloadCodec, kind: string, ending: Ending): Promise<Ending> {
  if (ending.kind === 'completed' && ending.result !== undefined) {
    return { ...ending, result: await codec.encode(ending.result, { kind }) }
  }
  if (ending.kind !== 'waiting' || ending.wait.progress === undefined) return ending
  return { ...ending, wait: { ...ending.wait, progress: await sealCheckpoint(codec, kind, ending.wait.progress) } }
}

/** A codec may be synchronous. */
const decoded = async (codec: PayloadCodec, value: Json, kind: string): Promise<Json> => codec.decode(value, { kind })

const PLAIN: Payloads = {
  async open(dispatch) {
    opened(dispatch.body.args)
    return dispatch
  },
  sealed: async ending => ending,
  checkpoint: async progress => progress,
}

/** A deploy that forgot the codec, or a part of it, must not run jobs on envelopes, nor fail them for good. */
function opened<T>(args: T): T {
  if (isEnvelope(args))
    throw new Refused('codec_failed', 'The arguments are encoded, and this function has no codec for them')
  return args
}

/** A codec of the user's own may throw whatever it likes. */
function refuse(error: unknown): never {
  throw new Refused('codec_failed', messageOf(error))
}

const messageOf = (error: unknown): string =>
  error instanceof MillraceError ? error.message : 'A payload could not be encoded or decoded'
