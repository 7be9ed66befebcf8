// `millrace job retry` and `millrace job cancel`.

import type { Cancelled, Retried } from '../../core/admin/jobs.ts'
import { adminCommand, byOption, ids, none } from './cli-admin.ts'
import { Failure } from './cli-command.ts'
import { type Column, table } from './cli-table.ts'

export const retryCommand = adminCommand({
  name: 'job retry',
  operands: '<id>...',
  summary: 'Retries failed and cancelled jobs at once, with all attempts before them; waiting ones run now.',
  details: `A running or completed job is left as it is (not_retryable), and so is one whose unique key another job has by now
(unique_conflict). Exit status: 1 if one of the jobs was not retried. For many jobs see millrace batch.`,
  options: byOption,
  async run({ positionals, admin, result }) {
    const items = await admin.jobs.retry(ids(positionals))
    result(retriedText(items), { items })
    const [first] = items.filter(job => job.problem !== null)
    if (first?.problem) throw new Failure(first.problem, `${left(items)} not retried`)
  },
})

const left = (items: readonly Retried[]): string => {
  const refused = items.filter(job => job.problem !== null)
  return `${refused.length} of ${items.length} jobs ${refused.length === 1 ? 'was' : 'were'}`
}

const retriedText = (items: readonly Retried[]): string =>
  table(items, [
    { title: 'ID', of: ({ id }) => id, right: true },
    { title: 'STATE', of: ({ state }) => state },
    { title: 'RETRIED', of: ({ retried, problem }) => problem ?? (retried ? 'yes' : 'is due already') },
  ]).join('\n')

export const cancelCommand = adminCommand({
  name: 'job cancel',
  operands: '<id>...',
  summary: 'Cancels jobs that have not ended; those that run are told at their next heartbeat.',
  details: `Exit status: 1 if one of the jobs is not cancelled now, because there is none or it had ended otherwise.
For many jobs see millrace batch.`,
  options: {
    'unique-key': { type: 'string', value: 'KEY', help: 'the job that took this unique key last, instead of an id' },
    reason: { type: 'string', value: 'TEXT', help: "kept as the message of the job's last error" },
    ...byOption,
  },
  async run({ positionals, values, admin, result }) {
    const { reason, 'unique-key': key } = values
    if (key !== undefined) {
      none(positionals)
      const job = await admin.jobs.cancelByKey(key, reason)
      if (!job) throw new Failure('not_found', `no job is known to have the unique key ${key}`)
      return conclude([job], result)
    }
    const wanted = ids(positionals)
    const items = await admin.jobs.cancel(wanted, reason)
    conclude(items, result)
    const missing = wanted.filter(id => !items.some(job => BigInt(job.id) === BigInt(id)))
    if (missing.length > 0) throw new Failure('not_found', `there is no job ${missing.join(', ')} (any more)`)
  },
})

function conclude(items: readonly Cancelled[], result: (text: string, value: unknown) => void): void {
  const columns: readonly Column<Cancelled>[] = [
    { title: 'ID', of: ({ id }) => id, right: true },
    { title: 'STATE', of: ({ state }) => state },
    { title: 'CANCELLED', of: ({ cancelled }) => (cancelled ? 'yes' : 'had ended before') },
  ]
  result(table(items, columns).join('\n'), { items })
  const ended = items.find(job => !job.cancelled && job.state !== 'cancelled')
  if (ended) throw new Failure('already_ended', `job ${ended.id} had ended before: ${ended.state}`)
}
