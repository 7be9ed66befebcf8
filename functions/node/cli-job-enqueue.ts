// `millrace job enqueue` and `millrace job wait`.

import { createClient } from '../../core/client.ts'
import type { EnqueueOptions } from '../../core/enqueue.ts'
import { exactJson } from '../../core/exact-json.ts'
import type { Kind } from '../../core/kind.ts'
import { waitFor } from '../../core/wait-for.ts'
import { adminCommand, ids, instant, one, seconds } from './cli-admin.ts'
import { Failure, integer, type Options, UsageError, type ValuesOf } from './cli-command.ts'
import { errorText } from './cli-job-filter.ts'
import { printable } from './cli-table.ts'

const enqueueOptions = {
  queue: { type: 'string', value: 'QUEUE', help: 'instead of what the kind declares' },
  priority: { type: 'string', value: 'N', help: '1 (first) to 4 (last)' },
  'max-attempts': { type: 'string', value: 'N', help: '1 to 1000' },
  delay: { type: 'string', value: 'TIME', help: 'not before so long from now: 90s, 5m, 2h, 7d' },
  'run-at': { type: 'string', value: 'TIME', help: 'not before this instant, in ISO 8601' },
  tag: { type: 'string', multiple: true, value: 'TAG', help: 'may be given up to 20 times' },
  metadata: { type: 'string', value: 'JSON', help: 'an object that travels with the job' },
  tenant: { type: 'string', value: 'TENANT', help: 'whose it is: metadata.tenant' },
  'ordering-key': { type: 'string', value: 'KEY', help: 'jobs with the same one go in their order' },
  'rate-key': { type: 'string', value: 'KEY', help: "jobs with the same one share the queue's rate per key" },
  'unique-key': { type: 'string', value: 'KEY', help: 'nothing is enqueued while another job holds it' },
} as const satisfies Options

export const enqueueCommand = adminCommand({
  name: 'job enqueue',
  operands: '<kind> [args]',
  summary: 'Enqueues a job, and prints its id. Arguments are JSON: {} unless given.',
  details: `Limits and declared defaults apply, but not the schema of the kind's arguments, which only the application has: the
function checks them.`,
  options: enqueueOptions,
  async run({ positionals, values, sql, schema, result }) {
    const [kind, args = '{}', ...rest] = positionals
    if (kind === undefined || rest.length > 0) throw new UsageError('a kind and its arguments are needed')
    const client = createClient({ schema })
    const options = enqueueOptionsOf(values)
    const enqueued = await client.enqueueUnique(sql, anyKind(kind), json('the arguments', args), options)
    result(enqueued.existing ? `${enqueued.id} (was there)` : enqueued.id, enqueued)
  },
})

const enqueueOptionsOf = (values: ValuesOf<typeof enqueueOptions>): EnqueueOptions => ({
  queue: values.queue,
  priority: integer('priority', values.priority, 1, 4),
  maxAttempts: integer('max-attempts', values['max-attempts'], 1, 1_000),
  delaySeconds: seconds('delay', values.delay),
  runAt: instant('run-at', values['run-at']),
  tags: values.tag,
  metadata:
    values.metadata === undefined ? undefined : (json('--metadata', values.metadata) as EnqueueOptions['metadata']),
  tenant: values.tenant,
  orderingKey: values['ordering-key'],
  rateKey: values['rate-key'],
  unique: values['unique-key'] === undefined ? undefined : { key: values['unique-key'] },
})

/** A kind by its name, whose arguments are anything. */
const anyKind = (name: string): Kind => ({
  name,
  args: { '~standard': { version: 1, vendor: 'millrace', validate: value => ({ value }) } },
})

function json(what: string, text: string): unknown {
  try {
    return exactJson(text)
  } catch (error) {
    throw new UsageError(`${what}: not JSON: ${error instanceof Error ? error.message : error}`)
  }
}

export const waitCommand = adminCommand({
  name: 'job wait',
  operands: '<id>',
  summary: 'Waits for the end of a job, and prints its result.',
  details:
    'Exit status: 0 if it is completed, 1 if it failed or was cancelled, if there is none, or if it takes too long.',
  options: { timeout: { type: 'string', value: 'TIME', help: 'gives up after so long: 90s, 5m, 2h' } },
  async run({ positionals, values, sql, schema, json: asJson, result }) {
    const [id] = ids([one(positionals, 'id')]) as [string]
    const job = await waitFor(sql, id, { schema, exact: true, timeoutSeconds: seconds('timeout', values.timeout) })
    if (job.state === 'completed' || asJson) result(JSON.stringify(job.result), job)
    const error = printable(errorText(job.errors.at(-1) ?? null))
    if (job.state !== 'completed') throw new Failure(job.state, `job ${id} ended as ${job.state}: ${error}`)
  },
})
