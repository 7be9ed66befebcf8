// `millrace queue`: pauses, resumes and drains queues.

import { adminCommand, confirm, one, yesOption } from './cli-admin.ts'
import type { Group } from './cli-command.ts'

const pauseCommand = adminCommand({
  name: 'queue pause',
  operands: '<name>',
  summary: 'Lets no more of a queue be claimed. What runs goes on; jobs are enqueued as ever.',
  options: { by: { type: 'string', value: 'WHO', help: 'who pauses it, for the record (default: $USER)' } },
  async run({ positionals, values, admin, result }) {
    const name = one(positionals, 'name')
    await admin.queues.pause(name, values.by ?? process.env.USER)
    result(`${name} is paused`, { name, paused: true })
  },
})

const resumeCommand = adminCommand({
  name: 'queue resume',
  operands: '<name>',
  summary: 'Lets a paused queue be claimed again.',
  options: {},
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
  summary: 'Pauses, resumes and drains queues.',
  commands: [pauseCommand, resumeCommand, drainCommand],
}
