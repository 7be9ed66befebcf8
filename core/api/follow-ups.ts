// The route that tells which follow-ups could not be enqueued.

import { route } from './route.ts'
import { integer, named, object, string, time } from './schema.ts'
import { id, idText, page, paging } from './shapes.ts'

const parts = {
  at: time,
  follow_up: string(),
  event: string(),
  attempt: integer(),
  code: string(),
  message: string(),
}

/** As one job's. */
export const jobFollowUpProblem = named('JobFollowUpProblem', object(parts))

const followUpProblem = named('FollowUpProblem', object({ id, job: id, ...parts }))

export const followUpRoutes = [
  route({
    method: 'GET',
    path: '/api/follow-up-problems',
    scope: 'read',
    summary: 'What should have followed a job but could not be enqueued, latest first.',
    query: { job: idText, follow_up: string({ maxLength: 300 }), ...paging },
    answer: page(followUpProblem),
    run: ({ query: { job, follow_up: followUp, ...paged } }, { admin }) =>
      admin.followUps.problems({ job, followUp }, paged),
  }),
]
