// Routes on batches: bulk operations that the leader does a chunk at a time.

import type { Batch } from '../admin/batches.ts'
import { jobRow } from './jobs.ts'
import { notFound } from './problem.ts'
import { route } from './route.ts'
import {
  boolean,
  closed,
  integer,
  type JsonSchema,
  list,
  named,
  nullable,
  object,
  oneOf,
  record,
  type Schema,
  string,
  time,
} from './schema.ts'
import { bulkFilter, by, id, idText, jobFilterOf, lane, page, paging } from './shapes.ts'

const operation = oneOf(['retry', 'cancel', 'set_priority', 'move_queue'])
const state = oneOf(['pending', 'running', 'completed', 'cancelled'])

const batch = named(
  'Batch',
  object({
    id,
    operation,
    filter: record as JsonSchema as Schema<Batch['filter']>,
    params: closed({}, lane),
    state,
    created_at: time,
    created_by: nullable(string()),
    matched: integer({ description: 'Of the jobs looked at so far' }),
    changed: integer(),
    refused: integer(),
    error: nullable(string()),
    finished_at: nullable(time),
  }),
)

const wanted = { operation, filter: bulkFilter }
const given = { params: closed({}, lane) }
const errors = ['invalid_queue', 'invalid_priority'] as const

export const batchRoutes = [
  route({
    method: 'POST',
    path: '/api/batches',
    scope: 'operate',
    summary:
      'Asks for an operation on all jobs that match and were enqueued before now; an empty filter needs all: true.',
    status: 201,
    body: closed(wanted, { ...given, by }),
    answer: batch,
    errors,
    run: ({ body: { operation, filter, params, by } }, { admin }) =>
      admin.batches.submit(operation, jobFilterOf(filter), params, by),
  }),
  route({
    method: 'POST',
    path: '/api/batches/preview',
    scope: 'read',
    summary: 'What a batch would work on now: how many, and the newest ten.',
    body: closed(wanted, given),
    answer: object({ count: integer(), lower_bound: boolean(), sample: list(jobRow) }),
    errors,
    run: ({ body: { operation, filter, params } }, { admin }) =>
      admin.batches.preview(operation, jobFilterOf(filter), params),
  }),
  route({
    method: 'GET',
    path: '/api/batches',
    scope: 'read',
    summary: 'Lists batches, newest first.',
    query: { state, ...paging },
    answer: page(batch),
    run: ({ query }, { admin }) => admin.batches.list(query),
  }),
  route({
    method: 'GET',
    path: '/api/batches/:id',
    scope: 'read',
    summary: 'One batch.',
    params: { id: idText },
    answer: batch,
    errors: ['not_found'],
    run: async ({ params: { id } }, { admin }) => there(await admin.batches.get(id)),
  }),
  route({
    method: 'POST',
    path: '/api/batches/:id/cancel',
    scope: 'operate',
    summary: 'Stops a batch; what is done stays done.',
    params: { id: idText },
    answer: batch,
    errors: ['not_found'],
    run: async ({ params: { id } }, { admin }) => there(await admin.batches.cancel(id)),
  }),
]

function there(found: Batch | undefined): Batch {
  if (found === undefined) throw notFound('batch')
  return found
}
