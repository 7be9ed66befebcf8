// Routes on schedules: list, pause, resume, trigger.

import type { ScheduleView } from '../schedule-engine.ts'
import { notFound } from './problem.ts'
import { route } from './route.ts'
import { boolean, integer, json, list, named, nullable, object, oneOf, record, string, time } from './schema.ts'
import { byBody, id, name, page } from './shapes.ts'

const error = object({ code: string(), message: string(), since: time, tries: integer() })

const schedule = named(
  'Schedule',
  object({
    name: string(),
    expression: string(),
    timezone: string(),
    kind: string(),
    args: json,
    time_arg: nullable(string()),
    queue: nullable(string()),
    priority: nullable(integer()),
    max_attempts: nullable(integer()),
    tags: nullable(list(string())),
    metadata: nullable(record),
    missed: oneOf(['coalesce', 'skip', 'catch_up']),
    overlap: oneOf(['allow', 'skip', 'cancel']),
    source: string(),
    created_at: time,
    last_at: nullable(time),
    last_job: nullable(integer()),
    skipped: integer(),
    error: nullable(error),
    paused_at: nullable(time),
    paused_by: nullable(string()),
    next: list(time, { description: 'The next occurrences, also while it is paused' }),
  }),
)

export const scheduleRoutes = [
  route({
    method: 'GET',
    path: '/api/schedules',
    scope: 'read',
    summary: 'Lists schedules by name, with their next occurrences.',
    answer: page(schedule),
    run: async (_, { admin }) => ({ items: (await admin.schedules.list()).map(shown), cursor: null }),
  }),
  route({
    method: 'POST',
    path: '/api/schedules/:name/pause',
    scope: 'operate',
    summary: 'Stops a schedule from firing.',
    params: { name },
    body: byBody,
    answer: object({ paused: boolean({ description: 'False: it was paused before, and stays as it was' }) }),
    errors: ['not_found'],
    run: async ({ params: { name }, body: { by } }, { admin }) => ({
      paused: there(await admin.schedules.pause(name, by)),
    }),
  }),
  route({
    method: 'POST',
    path: '/api/schedules/:name/resume',
    scope: 'operate',
    summary: 'Lets a schedule fire again, from now on.',
    params: { name },
    answer: object({ resumed: boolean({ description: 'False: it was not paused' }) }),
    errors: ['not_found'],
    run: async ({ params: { name } }, { admin }) => ({ resumed: there(await admin.schedules.resume(name)) }),
  }),
  route({
    method: 'POST',
    path: '/api/schedules/:name/trigger',
    scope: 'operate',
    summary: 'Enqueues a job of a schedule at once, paused or not; the schedule does not move.',
    status: 201,
    params: { name },
    answer: object({ id }),
    errors: ['not_found'],
    run: async ({ params: { name } }, { admin }) => ({ id: Number(there(await admin.schedules.trigger(name))) }),
  }),
]

/** Without how far it has got, which is for the leader. */
const shown = ({
  done_to,
  next_at,
  ...schedule
}: ScheduleView & { done_to?: unknown; next_at?: unknown }): ScheduleView => schedule

function there<T>(value: T | undefined): T {
  if (value === undefined) throw notFound('schedule')
  return value
}
