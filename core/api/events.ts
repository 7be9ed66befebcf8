// The route by which events come to jobs.

import { sendEvent } from '../send-event.ts'
import { route } from './route.ts'
import { closed, json, object, oneOf, string } from './schema.ts'
import { idText, jobState } from './shapes.ts'
import { ownOne } from './tenant.ts'

const ACTIONS = ['event', 'resume', 'complete', 'fail', 'retry'] as const

const taken = object(
  {
    state: oneOf(['applied', 'kept', 'ignored'], {
      description: 'kept: until an attempt waits for it; ignored: by the rules of the wait',
    }),
  },
  { job_state: jobState },
)

export const eventRoutes = [
  route({
    method: 'POST',
    path: '/api/jobs/:id/events/:name',
    scope: 'enqueue',
    tenants: 'own',
    summary: 'Sends a named event to a job that waits for it, or will.',
    params: { id: idText, name: string({ minLength: 1, maxLength: 200, 'x-code': 'invalid_event' }) },
    body: closed(
      {},
      {
        payload: { ...json, description: 'What the function gets; null unless given' } as typeof json,
        action: oneOf(ACTIONS, { description: 'event, unless given: what the rules of the wait say' }),
      },
    ),
    answer: taken,
    errors: ['not_found', 'already_ended', 'too_many_events', 'invalid_event', 'payload_too_large'],
    async run({ params: { id, name }, body: { payload, action } }, call) {
      await ownOne(call, id)
      const { sql, schema } = call
      const answer = await sendEvent(sql, id, name, { payload, action, schema })
      return { state: answer.state, ...(answer.state === 'applied' && { job_state: answer.jobState }) }
    },
  }),
]
