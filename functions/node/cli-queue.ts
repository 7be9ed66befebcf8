// `millrace queue`: how queues stand; pauses, resumes and drains them.

import type { QueueStats } from '../../core/admin/stats.ts'
import { adminCommand, byOption, confirm, none, one, yesOption } from './cli-admin.ts'
import type { Group } from './cli-command.ts'
import { countColumns } from './cli-counts.ts'
import { type Column, duration, moment, table } from './cli-table.ts'

const columns: readonly Column<QueueStats>[] = [
  { title: 'QUEUE', of: ({ queue }) => queue, shrinks: true },
  ...countColumns,
  { title: 'LAG', of: ({ lag_seconds }) => (lag_seconds === null ? '' : duration(lag_seconds)), right: true },
  { title: 'LIMITS', of: limits, shrinks: true },
  { title: 'PAUSED', of: ({ paused_at }) => moment(paused_at) },
  { title: 'BY', of: ({ paused_by }) => paused_by, shrinks: true },
]

function limits({ max_running, rate, key_rate }: QueueStats): string {
  return [
    ...(max_running === null ? [] : [`${max_running} at once`]),
    ...(rate === null ? [] : [`${rate}/s`]),
    ...(key_rate === null ? [] : [`${key_rate}/s per key`]),
  ].join(', ')
}

const listCommand = adminCommand({
  name: 'queue list',
  operands: '',
  summary: 'Lists queues: how many jobs, how long the first has waited, limits, pauses. ~ marks an estimate.',
  options: {},
  async run({ positionals, admin, result }) {
    none(positionals)
    const items = await admin.queues.list()
    result(items.length > 0 ? table(items, columns).join('\n') : 'No queues', { items, cursor: null })
  },
})

const pauseCommand = adminCommand({
  name: 'queue pause',
  operands: '<name>',
  summary: 'Lets no more of a queue be claimed. What runs goes on; jobs are enqueued as ever.',
  options: byOption,
  async run({ positionals, admin, result }) {
    const name = one(positionals, 'name')
    await admin.queues.pause(name)
    result(`${name} is paused`, { name, paused: true })
  },
})

const resumeCommand = adminCommand({
  name: 'queue resume',
  operands: '<name>',
  summary: 'Lets a paused queue be claimed again.',
  options: byOption,
  async run({ positionals, admin, result }) {
    const name = one(positionals, 'name')
    const changed = await admin.queues.resume(name)
    result(changed ? `${name} is resumed` : `${name} was not paused`, { name, paused: false, changed })
  },
})

const drainCommand = adminCommand({
  name: 'queue drain',
  operands: '<name>',
  summary: 'Cancels all jobs of a queue that do not run.',
  details: 'Asks first. Pause the queue before, or what is enqueued meanwhile is cancelled too.',
  options: {
    reason: { type: 'string', value: 'TEXT', help: "kept as the message of the jobs' last error (default: drained)" },
    ...byOption,
    ...yesOption,
  },
  async run({ positionals, admin, result, ...run }) {
    const name = one(positionals, 'name')
    await confirm(`This cancels all jobs of queue ${name} that do not run.`, run)
    const cancelled = await admin.queues.drain(name, run.values.reason)
    result(`${cancelled} cancelled`, { name, cancelled })
  },
})

export const queueGroup: Group = {
  name: 'queue',
  summary: 'Lists, pauses, resumes and drains queues.',
  commands: [listCommand, pauseCommand, resumeCommand, drainCommand],
}
