// `millrace dlq`: failed jobs that wait for somebody to look at them.

import type { DeadLetter, DeadLetterRow } from '../../core/admin/dead-letters.ts'
import { adminCommand, ids, none, one } from './cli-admin.ts'
import { Failure, type Group } from './cli-command.ts'
import { filterOptions, purgeCommand, retryCommand } from './cli-dlq-bulk.ts'
import { errorText } from './cli-job-filter.ts'
import { pageOptions, printList } from './cli-list.ts'
import { type Column, facts, moment, printable, table } from './cli-table.ts'

const columns: readonly Column<DeadLetterRow>[] = [
  { title: 'ID', of: ({ id }) => id, right: true },
  { title: 'KIND', of: ({ kind }) => kind, shrinks: true },
  { title: 'QUEUE', of: ({ queue }) => queue, shrinks: true },
  { title: 'REASON', of: ({ reason }) => reason },
  { title: 'ATTEMPT', of: ({ attempt, max_attempts }) => `${attempt}/${max_attempts}`, right: true },
  { title: 'DIED', of: letter => moment(letter.died_at) },
  { title: 'KEPT UNTIL', of: letter => moment(letter.expires_at) },
  { title: 'ERROR', of: ({ error }) => errorText(error), shrinks: true },
]

const listCommand = adminCommand({
  name: 'dlq list',
  operands: '',
  summary: 'Lists dead letters, last died first.',
  options: { ...filterOptions, ...pageOptions },
  async run({ positionals, admin, ...run }) {
    none(positionals)
    const { queue, kind, reason, tag, tenant } = run.values
    const filter = { queue, kind, reason, tag, tenant }
    await printList(run, { ask: page => admin.deadLetters.list(filter, page), columns, none: 'No such dead letters' })
  },
})

const showCommand = adminCommand({
  name: 'dlq show',
  operands: '<id>',
  summary: 'Shows a dead letter with its arguments and errors. How each attempt went: millrace job show.',
  options: {},
  async run({ positionals, admin, result }) {
    const [id] = ids([one(positionals, 'id')]) as [string]
    const letter = await admin.deadLetters.get(id)
    if (!letter) throw new Failure('not_found', `job ${id} is no dead letter (any more)`)
    result(describe(letter), letter)
  },
})

const depthCommand = adminCommand({
  name: 'dlq depth',
  operands: '',
  summary: 'Counts dead letters by queue, up to 100,000.',
  options: {},
  async run({ positionals, admin, result }) {
    none(positionals)
    const depth = await admin.deadLetters.depth()
    const rows = table(depth.queues, [
      { title: 'QUEUE', of: ({ queue }) => queue, shrinks: true },
      { title: 'DEAD LETTERS', of: ({ count }) => count, right: true },
      { title: 'OLDEST DIED', of: queue => moment(queue.oldest_died_at) },
    ])
    result(
      [...(depth.total > 0 ? rows : []), `${depth.total}${depth.lower_bound ? ' or more' : ''} in all`].join('\n'),
      depth,
    )
  },
})

export const dlqGroup: Group = {
  name: 'dlq',
  summary: 'Lists, shows, retries and purges dead letters.',
  commands: [listCommand, showCommand, retryCommand, purgeCommand, depthCommand],
}

function describe(letter: DeadLetter): string {
  const lines = facts([
    ['job', letter.id],
    ['reason', letter.reason],
    ['kind', letter.kind],
    ['queue', `${letter.queue}, priority ${letter.priority}`],
    ['attempt', `${letter.attempt} of ${letter.max_attempts}`],
    ['enqueued', moment(letter.enqueued_at)],
    ['died', moment(letter.died_at)],
    ['kept until', moment(letter.expires_at)],
    ['tags', letter.tags.join(', ')],
    ['unique key', letter.unique_key],
    ['arguments', JSON.stringify(letter.args)],
    ['metadata', Object.keys(letter.metadata).length > 0 ? JSON.stringify(letter.metadata) : null],
    ['progress', letter.progress === null ? null : JSON.stringify(letter.progress)],
  ])
  const errors = letter.errors.map(error => `  attempt ${error.attempt}: ${printable(errorText(error))}`)
  return [...lines, '', 'Errors:', ...errors].join('\n')
}
