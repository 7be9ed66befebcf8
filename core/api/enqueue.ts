// The route that enqueues: one job or many, with every option, and once only for each Idempotency-Key.

import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Enqueued } from '../client.ts'
import { translatingErrors } from '../database-errors.ts'
import { toSql } from '../drivers.ts'
import { type EnqueueOptions, type Job, job, toRow } from '../enqueue.ts'
import { statementForUnique } from '../enqueue-statement.ts'
import { canonicalJson } from '../unique-key.ts'
import { Problem } from './problem.ts'
import { type Call, route } from './route.ts'
import {
  boolean,
  closed,
  either,
  integer,
  json,
  list,
  named,
  number,
  object,
  oneOf,
  record,
  type Schema,
  string,
  type TypeOf,
} from './schema.ts'
import { id, jobState, MAX_IDS, priority, queueName } from './shapes.ts'
import { tenantOf } from './tenant.ts'

const by = {
  key: string({ minLength: 1, maxLength: 200, description: 'Instead of what follows; one namespace for all kinds' }),
  by_args: boolean({ description: 'The arguments are part of the key: true' }),
  by_queue: boolean({ description: 'The queue is part of the key: false' }),
}
const code = { 'x-code': 'invalid_unique' }
const spacing = closed({ seconds: number({ description: 'Above 0' }) }, by)

const unique = closed(
  {},
  {
    ...by,
    period_seconds: number({ description: 'The number of the period of this length is part of the key' }),
    states: list(jobState, { description: 'In which a job holds its key: all but failed and cancelled' }),
    on_conflict: oneOf(['existing', 'error', 'replace'], {
      description:
        'existing: nothing is enqueued, its id is answered; error: 409; replace: it gets this, if it has not begun',
    }),
  },
)

const jobGiven = named(
  'NewJob',
  closed(
    { kind: string({ minLength: 1, maxLength: 200, 'x-code': 'invalid_kind' }) },
    {
      args: { ...json, description: '{} unless given' } as typeof json,
      queue: queueName,
      priority,
      run_at: string({ format: 'date-time', 'x-code': 'invalid_run_at' }),
      delay_seconds: number({ minimum: 0, 'x-code': 'invalid_run_at' }),
      max_attempts: integer({ minimum: 1, maximum: 1_000, 'x-code': 'invalid_max_attempts' }),
      tags: list(string({ minLength: 1 }), { maxItems: 20, 'x-code': 'invalid_tags' }),
      metadata: { ...record, 'x-code': 'invalid_metadata' } as typeof record,
      tenant: string({
        minLength: 1,
        maxLength: 200,
        'x-code': 'invalid_metadata',
        description: 'Whose it is: metadata.tenant; its unique keys are its own',
      }),
      ordering_key: string({ minLength: 1, maxLength: 200, 'x-code': 'invalid_ordering_key' }),
      rate_key: string({ minLength: 1, maxLength: 200, 'x-code': 'invalid_rate_key' }),
      unique: { ...either(boolean(), unique), ...code } as Schema<boolean | TypeOf<typeof unique>>,
      debounce: { ...spacing, ...code } as typeof spacing,
      throttle: { ...spacing, ...code } as typeof spacing,
    },
  ),
)

const enqueued = named(
  'Enqueued',
  object({
    id,
    existing: boolean({ description: 'The job was there before' }),
    replaced: boolean({ description: 'It was there and had not begun, so it got these arguments, options and time' }),
  }),
)

type Given = TypeOf<typeof jobGiven>
type Answer = TypeOf<typeof enqueued>

export const enqueueRoute = route({
  method: 'POST',
  path: '/api/jobs',
  scope: 'enqueue',
  tenants: 'own',
  summary:
    'Enqueues a job, or all or none of many. A repeated request with the same Idempotency-Key is told the same jobs.',
  status: 201,
  idempotent: true,
  body: either(jobGiven, closed({ jobs: list(jobGiven, { minItems: 1, maxItems: MAX_IDS }) })),
  answer: either(enqueued, object({ items: list(enqueued) })),
  errors: [
    ...([
      'invalid_kind',
      'invalid_args',
      'invalid_queue',
      'invalid_priority',
      'invalid_run_at',
      'invalid_max_attempts',
    ] as const),
    ...(['invalid_tags', 'invalid_metadata', 'invalid_ordering_key', 'invalid_rate_key', 'invalid_unique'] as const),
    ...(['unique_conflict', 'idempotency_conflict', 'payload_too_large'] as const),
  ],
  async run({ body }, call) {
    if ('jobs' in body) return { items: await enqueueAll(body.jobs, call) }
    return (await enqueueAll([body], call))[0] as Answer
  },
})

async function enqueueAll(given: readonly Given[], call: Call): Promise<Answer[]> {
  const jobs = given.map((one, n) => jobOf(ownJob(one, call), call.idempotencyKey, n))
  const { text, values } = statementForUnique(call.schema, await Promise.all(jobs.map(job => toRow(job))))
  const rows = await translatingErrors(() => toSql(call.sql).query<Enqueued>(text, values))
  const answers = rows.map(({ id, existing, replaced }) => ({ id: Number(id), existing, replaced }))
  if (call.idempotencyKey !== undefined) await sameAsBefore(jobs, answers, call)
  return answers
}

/** What takes any arguments: the kind's own schema is known to its function only. */
const ANYTHING: StandardSchemaV1 = { '~standard': { version: 1, vendor: 'millrace', validate: value => ({ value }) } }

function jobOf(
  { kind, args = {}, unique, debounce, throttle, ...given }: Given,
  idempotencyKey: string | undefined,
  n: number,
): Job {
  const options: EnqueueOptions = {
    queue: given.queue,
    priority: given.priority,
    runAt: given.run_at === undefined ? undefined : new Date(given.run_at),
    delaySeconds: given.delay_seconds,
    maxAttempts: given.max_attempts,
    tags: given.tags,
    metadata: given.metadata,
    tenant: given.tenant,
    orderingKey: given.ordering_key,
    rateKey: given.rate_key,
    unique: typeof unique === 'object' ? uniqueOf(unique) : unique,
    debounce: debounce && { ...keyOf(debounce), seconds: debounce.seconds },
    throttle: throttle && { ...keyOf(throttle), seconds: throttle.seconds },
  }
  if (idempotencyKey === undefined) return job({ name: kind, args: ANYTHING }, args, options)
  if (unique || debounce || throttle) {
    throw new Problem(
      'invalid_unique',
      'Idempotency-Key makes the job unique itself: leave unique, debounce and throttle out',
    )
  }
  return job({ name: kind, args: ANYTHING }, args, { ...options, unique: once(idempotencyKey, n) })
}

/** A key of one tenant's enqueues for it, whether it says so or not, and does not pass its jobs off as what follows others. */
function ownJob(given: Given, call: Call): Given {
  const named = given.metadata?.tenant
  if (call.tenant !== undefined && named !== undefined && named !== call.tenant) {
    throw new Problem('forbidden', 'This key is of another tenant')
  }
  if (call.tenant !== undefined && given.metadata?.follows !== undefined) {
    throw new Problem('forbidden', 'metadata.follows is of follow-ups')
  }
  return { ...given, tenant: tenantOf(call, given.tenant) }
}

const keyOf = ({ key, by_args: byArgs, by_queue: byQueue }: TypeOf<typeof unique>) => ({ key, byArgs, byQueue })

const uniqueOf = (given: TypeOf<typeof unique>) => ({
  ...keyOf(given),
  periodSeconds: given.period_seconds,
  states: given.states,
  onConflict: given.on_conflict,
})

/** Held in every state: for as long as the job is there. */
const once = (key: string, n: number) => ({
  key: `idempotency-key:${key}:${n}`,
  states: jobState.enum as NonNullable<TypeOf<typeof unique>['states']>,
})

/** A key that comes again with another job is a mistake of the caller's, and would lose that job silently. */
async function sameAsBefore(jobs: readonly Job[], answers: readonly Answer[], { admin, tenant }: Call): Promise<void> {
  const before = new Map(answers.flatMap(({ id, existing }, n) => (existing ? [[id, jobs[n] as Job] as const] : [])))
  if (before.size === 0) return
  for (let cursor: string | null | undefined; cursor !== null; ) {
    const seen = await admin.jobs.list({ ids: [...before.keys()], tenant }, { limit: MAX_IDS, cursor, full: true })
    for (const { id, kind, args } of seen.items) {
      const asked = before.get(id)
      if (asked && (asked.kind.name !== kind || canonicalJson(asked.args) !== canonicalJson(args))) {
        throw new Problem(
          'idempotency_conflict',
          `Job ${id} was enqueued with this Idempotency-Key, and is another one`,
        )
      }
    }
    cursor = seen.cursor
  }
}
