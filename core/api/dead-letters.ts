// Routes on dead letters: lists, one, retry, purge, how many there are.

import type { BulkDeadLetterFilter } from '../admin/dead-letters.ts'
import { notFound, Problem } from './problem.ts'
import { type Call, route } from './route.ts'
import { boolean, closed, integer, json, list, named, nullable, object, record, string, time } from './schema.ts'
import { all, id, ids, idText, jobError, jobHead, lane, MAX_IDS, page, paging } from './shapes.ts'
import { ownOne, tenantOf } from './tenant.ts'

const row = { ...jobHead, reason: string(), died_at: time, expires_at: time, error: nullable(jobError) }

const filter = {
  queue: string({ maxLength: 200 }),
  kind: string({ maxLength: 200 }),
  reason: string({ maxLength: 200, description: 'Such as terminal_error or max_attempts_exhausted' }),
  tag: string({ maxLength: 4_000 }),
  tenant: string({ maxLength: 200, description: 'metadata.tenant' }),
}

const bulk = { ...filter, ids, all }

export const deadLetterRoutes = [
  route({
    method: 'GET',
    path: '/api/dead-letters',
    scope: 'read',
    tenants: 'own',
    summary: 'Lists dead letters, last died first; all that is given must hold.',
    query: { ...filter, id: list(idText, { maxItems: MAX_IDS }), ...paging },
    answer: page(named('DeadLetterRow', object(row))),
    run({ query: { id: ids, limit, cursor, ...filter } }, call) {
      const held = { ...filter, tenant: tenantOf(call, filter.tenant), ids }
      return call.admin.deadLetters.list(held, { limit, cursor })
    },
  }),
  route({
    method: 'GET',
    path: '/api/dead-letters/depth',
    scope: 'read',
    summary: 'How many dead letters there are in each queue.',
    answer: object({
      total: integer(),
      lower_bound: boolean({ description: 'There are more than were counted' }),
      queues: list(object({ queue: string(), count: integer(), oldest_died_at: time })),
    }),
    run: (_, { admin }) => admin.deadLetters.depth(),
  }),
  route({
    method: 'GET',
    path: '/api/dead-letters/:id',
    scope: 'read',
    tenants: 'own',
    summary: 'A dead letter with everything that a retry would work with.',
    params: { id: idText },
    answer: named(
      'DeadLetter',
      object({ ...row, args: json, metadata: record, progress: json, errors: list(jobError) }),
    ),
    errors: ['not_found'],
    async run({ params: { id } }, call) {
      await ownOne(call, id, 'dead letter')
      const letter = await call.admin.deadLetters.get(id)
      if (letter === undefined) throw notFound('dead letter')
      return letter
    },
  }),
  route({
    method: 'POST',
    path: '/api/dead-letters/retry',
    scope: 'operate',
    tenants: 'own',
    summary: 'Retries all that match, where they were or in another queue or priority. For very many, see batches.',
    body: closed({ filter: closed({}, bulk) }, lane),
    answer: object({ retried: integer(), refused: list(object({ id, problem: string() })) }),
    errors: ['invalid_queue', 'invalid_priority'],
    run: ({ body: { filter, ...to } }, call) => call.admin.deadLetters.retry(held(filter, call), to),
  }),
  route({
    method: 'POST',
    path: '/api/dead-letters/purge',
    scope: 'operate',
    tenants: 'own',
    summary: 'Deletes all that match, for good.',
    body: closed({ filter: closed({}, bulk) }),
    answer: object({ purged: integer() }),
    run: async ({ body: { filter } }, call) => ({ purged: await call.admin.deadLetters.purge(held(filter, call)) }),
  }),
  route({
    method: 'POST',
    path: '/api/dead-letters/:id/retry',
    scope: 'operate',
    tenants: 'own',
    summary: 'Retries one, where it was or in another queue or priority; attempt numbers go on.',
    params: { id: idText },
    body: closed({}, lane),
    answer: object({ retried: integer() }),
    errors: ['not_found', 'unique_conflict', 'invalid_queue', 'invalid_priority'],
    async run({ params: { id }, body }, call) {
      const { retried, refused } = await call.admin.deadLetters.retry({ ids: [id], tenant: call.tenant }, body)
      if (refused.length > 0) throw new Problem('unique_conflict', 'Another job has the unique key of this one by now')
      if (retried === 0) throw notFound('dead letter')
      return { retried }
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/dead-letters/:id',
    scope: 'operate',
    tenants: 'own',
    summary: 'Deletes one, for good.',
    params: { id: idText },
    answer: object({ purged: integer() }),
    errors: ['not_found'],
    async run({ params: { id } }, call) {
      const purged = await call.admin.deadLetters.purge({ ids: [id], tenant: call.tenant })
      if (purged === 0) throw notFound('dead letter')
      return { purged }
    },
  }),
]

/** All of them means all of the tenant's; which ones are meant is to be said all the same. */
function held({ all, ...filter }: BulkDeadLetterFilter, call: Call): BulkDeadLetterFilter {
  if (call.tenant === undefined) return { ...filter, all }
  if (Object.values(filter).some(value => value !== undefined) === (all === true)) {
    throw new Problem('invalid_request', 'A filter or all: true, one of them')
  }
  return { ...filter, tenant: tenantOf(call, filter.tenant) }
}
