// `millrace cron`: schedules.

import type { ScheduleView } from '../../core/schedule-engine.ts'
import { adminCommand, byOption, none, one } from './cli-admin.ts'
import { Failure, type Group } from './cli-command.ts'
import { errorText } from './cli-job-filter.ts'
import { type Column, moment, table } from './cli-table.ts'

const columns: readonly Column<ScheduleView>[] = [
  { title: 'NAME', of: ({ name }) => name, shrinks: true },
  { title: 'EXPRESSION', of: ({ expression }) => expression },
  { title: 'TIME ZONE', of: ({ timezone }) => timezone },
  { title: 'KIND', of: ({ kind }) => kind, shrinks: true },
  { title: 'LAST', of: schedule => moment(schedule.last_at) },
  { title: 'NEXT', of: schedule => moment(schedule.next[0]) },
  { title: 'NOTE', of: noteOf, shrinks: true },
]

function noteOf({ paused_at, paused_by, error }: ScheduleView): string {
  const paused = paused_at === null ? [] : [paused_by === null ? 'paused' : `paused by ${paused_by}`]
  return [...paused, ...(error ? [errorText(error)] : [])].join('; ')
}

const listCommand = adminCommand({
  name: 'cron list',
  operands: '',
  summary: 'Lists the schedules, with their last and next time. Under --json the next five times.',
  options: {},
  async run({ positionals, admin, result }) {
    none(positionals)
    const items = await admin.schedules.list()
    const text = items.length === 0 ? 'No schedules' : table(items, columns).join('\n')
    result(text, { items, cursor: null })
  },
})

const pauseCommand = adminCommand({
  name: 'cron pause',
  operands: '<name>',
  summary: 'Stops a schedule from firing. What it has enqueued goes on.',
  options: byOption,
  async run({ positionals, admin, result }) {
    const name = one(positionals, 'name')
    const paused = found(name, await admin.schedules.pause(name))
    result(paused ? `${name} is paused` : `${name} was paused before`, { name, paused: true, changed: paused })
  },
})

const resumeCommand = adminCommand({
  name: 'cron resume',
  operands: '<name>',
  summary: 'Lets a schedule fire again, from now on: what was due meanwhile is not made up for.',
  options: byOption,
  async run({ positionals, admin, result }) {
    const name = one(positionals, 'name')
    const resumed = found(name, await admin.schedules.resume(name))
    result(resumed ? `${name} is resumed` : `${name} was not paused`, { name, paused: false, changed: resumed })
  },
})

const triggerCommand = adminCommand({
  name: 'cron trigger',
  operands: '<name>',
  summary: "Enqueues a schedule's job at once, paused or not, and prints its id.",
  options: byOption,
  async run({ positionals, admin, result }) {
    const name = one(positionals, 'name')
    const job = found(name, await admin.schedules.trigger(name))
    result(job, { name, job })
  },
})

export const cronGroup: Group = {
  name: 'cron',
  summary: 'Lists, pauses, resumes and triggers schedules.',
  commands: [listCommand, pauseCommand, resumeCommand, triggerCommand],
}

function found<T>(name: string, answer: T | undefined): T {
  if (answer === undefined) throw new Failure('not_found', `there is no schedule ${name}`)
  return answer
}
