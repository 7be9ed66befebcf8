// A kind together with the code that does its work.

import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Kind, ParsedArgsOf } from '../kind.ts'
import type { Job } from './job.ts'

/** Made by {@link handle}. */
export interface Handler {
  readonly kind: Kind
  // Method syntax, so that handlers of all kinds fit into one list.
  run(args: unknown, job: Job): unknown
}

/**
 * Says how a kind's jobs are done. What the handler returns is the job's result (anything JSON can hold); what it
 * throws fails the attempt. Deliveries are at least once: make the work idempotent, `job.idempotencyKey` helps.
 *
 * @example handle(renderReceipt, async ({ orderId }, job) => ({ url: await render(orderId, job.signal) }))
 */
export const handle = <Name extends string, Schema extends StandardSchemaV1>(
  kind: Kind<Name, Schema>,
  run: (args: ParsedArgsOf<Kind<Name, Schema>>, job: Job) => unknown,
): Handler => ({ kind, run: run as Handler['run'] })
