// The function of the tests on Lambda: a receiver that does what the job's arguments say.

import { lambdaHandler } from 'millrace/aws'
import { defineKind, handle, type Job, NonRetryableError, RetryLaterError, SnoozeError, serve } from 'millrace/function'
import * as v from 'valibot'

const args = v.object({ do: v.picklist(['return', 'throw', 'give up', 'snooze', 'later', 'die', 'hang', 'wait']) })

async function work({ do: what }: v.InferOutput<typeof args>, { attempt, idempotencyKey }: Job) {
  if (what === 'throw' && attempt === 1) throw new Error('out of paper')
  if (what === 'give up') throw new NonRetryableError('no such order')
  if (what === 'snooze' && attempt === 1) throw new SnoozeError(60)
  if (what === 'later' && attempt === 1) throw new RetryLaterError(60)
  if (what === 'die') process.exit(3)
  if (what === 'hang') await new Promise(() => setInterval(() => undefined, 1_000))
  if (what === 'wait') await new Promise(resolve => setTimeout(resolve, 300))
  return { text: 'Größe', attempt, key: idempotencyKey }
}

/** Each test has a kind of its own. */
const kinds = Array.from({ length: 50 }, (_, nth) => handle(defineKind({ name: `work_${nth + 1}`, args }), work))

export const handler = lambdaHandler(serve({ kinds, dispatchKeys: process.env.MILLRACE_DISPATCH_KEYS }))
