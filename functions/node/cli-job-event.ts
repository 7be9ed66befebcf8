// `millrace job event`: sends a named event to a job.

import { exactJson } from '../../core/exact-json.ts'
import type { Json } from '../../core/json.ts'
import { type EventAnswer, sendEvent } from '../../core/send-event.ts'
import type { EventAction } from '../../core/wire.ts'
import { adminCommand, ids } from './cli-admin.ts'
import { UsageError } from './cli-command.ts'

const ACTIONS: readonly string[] = ['event', 'resume', 'complete', 'fail', 'retry'] satisfies EventAction[]

export const eventCommand = adminCommand({
  name: 'job event',
  operands: '<id> <name>',
  summary: 'Sends a named event to a job that waits for it, or will.',
  details: `Prints what became of it: applied (with the job's state from now on), kept (until an attempt waits for it), or ignored (by
the rules of the wait).`,
  options: {
    payload: { type: 'string', value: 'JSON', help: 'what the function gets' },
    action: {
      type: 'string',
      value: 'ACTION',
      help: 'resume, complete, fail or retry, whatever the rules of the wait say; event (the default) asks them',
    },
  },
  async run({ positionals, values, sql, schema, result }) {
    const [id, name, ...rest] = positionals
    if (id === undefined || name === undefined || rest.length > 0) throw new UsageError('an id and a name are needed')
    ids([id])
    const { action = 'event' } = values
    if (!ACTIONS.includes(action)) throw new UsageError(`--action takes ${ACTIONS.join(', ')}, not "${action}"`)
    const options = { payload: payloadIn(values.payload), action: action as EventAction, schema }
    const answer = await sendEvent(sql, id, name, options)
    result(textOf(answer), answer)
  },
})

const textOf = (answer: EventAnswer): string =>
  answer.state === 'applied' ? `applied: the job is ${answer.jobState}` : answer.state

function payloadIn(text: string | undefined): Json | undefined {
  try {
    return text === undefined ? undefined : (exactJson(text) as Json)
  } catch (error) {
    throw new UsageError(`--payload: not JSON: ${error instanceof Error ? error.message : error}`)
  }
}
