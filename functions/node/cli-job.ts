// `millrace job`: lists jobs, shows one, and what cli-job-change.ts and cli-job-enqueue.ts do to them.

import type { PageOptions } from '../../core/admin/calls.ts'
import type { FollowUpProblem } from '../../core/admin/follow-ups.ts'
import type { AttemptView, JobDetail } from '../../core/admin/jobs.ts'
import { adminCommand, ids, none, one } from './cli-admin.ts'
import { Failure, type Group } from './cli-command.ts'
import { cancelCommand, retryCommand } from './cli-job-change.ts'
import { enqueueCommand, waitCommand } from './cli-job-enqueue.ts'
import { eventCommand } from './cli-job-event.ts'
import { errorText, jobColumns, jobFilter, jobFilterOptions } from './cli-job-filter.ts'
import { pageOptions, printList } from './cli-list.ts'
import { type Column, facts, moment, printable, table } from './cli-table.ts'

const listCommand = adminCommand({
  name: 'job list',
  operands: '',
  summary: 'Lists jobs, newest first.',
  details: `All that is given must hold; --state and --id may be given more than once.
A job is there until its retention is over.`,
  options: { ...jobFilterOptions, ...pageOptions },
  async run({ positionals, admin, ...run }) {
    none(positionals)
    const filter = jobFilter(run.values)
    await printList(run, { ask: page => admin.jobs.list(filter, page), columns: jobColumns, none: 'No such jobs' })
  },
})

const showCommand = adminCommand({
  name: 'job show',
  operands: '<id>',
  summary: 'Shows all that is known of a job: arguments, attempts, errors, progress, result.',
  options: {},
  async run({ positionals, admin, result }) {
    const [id] = ids([one(positionals, 'id')]) as [string]
    const job = await admin.jobs.get(id)
    if (!job) throw new Failure('not_found', `there is no job ${id} (any more)`)
    result(describe(job), job)
  },
})

const problemsCommand = adminCommand({
  name: 'job problems',
  operands: '',
  summary: 'Lists what should have followed a job but could not be enqueued, latest first.',
  options: {
    job: { type: 'string', value: 'ID', help: 'of this job' },
    'follow-up': { type: 'string', value: 'NAME', help: 'of this follow-up' },
    ...pageOptions,
  },
  async run({ positionals, admin, ...run }) {
    none(positionals)
    const { job, 'follow-up': followUp } = run.values
    const filter = { job: job === undefined ? undefined : ids([job])[0], followUp }
    const ask = (page: PageOptions) => admin.followUps.problems(filter, page)
    await printList(run, { ask, columns: problemColumns, none: 'Everything could follow' })
  },
})

export const jobGroup: Group = {
  name: 'job',
  summary: 'Lists, shows, enqueues, retries and cancels jobs.',
  commands: [
    listCommand,
    showCommand,
    problemsCommand,
    enqueueCommand,
    waitCommand,
    retryCommand,
    cancelCommand,
    eventCommand,
  ],
}

const attemptColumns: readonly Column<AttemptView>[] = [
  { title: 'ATTEMPT', of: ({ attempt }) => attempt, right: true },
  { title: 'STATE', of: ({ state }) => state },
  { title: 'READY', of: attempt => moment(attempt.available_at) },
  { title: 'CLAIMED', of: attempt => moment(attempt.claimed_at) },
  { title: 'ENDED', of: attempt => moment(attempt.finished_at) },
  { title: 'RUNTIME', of: ({ runtime }) => runtime, right: true },
  { title: 'ERROR', of: ({ error }) => errorText(error), shrinks: true },
]

const problemColumns: readonly Column<FollowUpProblem>[] = [
  { title: 'JOB', of: ({ job }) => job, right: true },
  { title: 'ATTEMPT', of: ({ attempt }) => attempt, right: true },
  { title: 'EVENT', of: ({ event }) => event },
  { title: 'FOLLOW-UP', of: problem => problem.follow_up, shrinks: true },
  { title: 'AT', of: ({ at }) => moment(at) },
  { title: 'ERROR', of: problem => errorText(problem), shrinks: true },
]

function describe(job: JobDetail): string {
  const lines = facts([
    ['job', job.id],
    ['state', job.state],
    ['kind', job.kind],
    ['queue', `${job.queue}, priority ${job.priority}`],
    ['attempt', `${job.attempt} of ${job.max_attempts}`],
    ['enqueued', moment(job.enqueued_at)],
    [job.state === 'scheduled' || job.state === 'retryable' ? 'due' : 'ready', moment(job.run_at)],
    ['attempted', moment(job.attempted_at)],
    ['ended', moment(job.finished_at)],
    ['waits for', job.wait?.name],
    ['waits until', moment(job.wait?.deadline)],
    ['tags', job.tags.join(', ')],
    ['unique key', job.unique_key],
    ['put back', job.put_back && errorText(job.put_back)],
    ['put back since', moment(job.put_back?.since)],
    ['dead letter', job.dead_letter?.reason],
    ['died', moment(job.dead_letter?.died_at)],
    ['kept until', moment(job.dead_letter?.expires_at)],
    ['arguments', JSON.stringify(job.args)],
    ['metadata', Object.keys(job.metadata).length > 0 ? JSON.stringify(job.metadata) : null],
    ['progress', job.progress === null ? null : JSON.stringify(job.progress)],
    ['result', job.result === null ? null : JSON.stringify(job.result)],
  ])
  if (job.attempts.length > 0) lines.push('', ...table(job.attempts, attemptColumns))
  const errors = job.errors.map(error => `  attempt ${error.attempt}: ${printable(errorText(error))}`)
  if (errors.length > 0) lines.push('', 'Errors:', ...errors)
  const missing = job.follow_up_problems.map(
    ({ follow_up, event, attempt, code, message }) =>
      `  ${printable(follow_up)} (${event}, attempt ${attempt}): ${printable(errorText({ code, message }))}`,
  )
  if (missing.length > 0) lines.push('', 'Could not follow:', ...missing)
  return lines.join('\n')
}
