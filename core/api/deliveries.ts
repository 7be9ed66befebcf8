// Routes on the log of webhook deliveries, and those that send again.

import type { Page, PageOptions } from '../admin/calls.ts'
import type { DeliveryFilter, DeliveryView, Redelivered } from '../admin/deliveries.ts'
import { ownEndpoint } from './endpoints.ts'
import { notFound, Problem } from './problem.ts'
import { type Call, route } from './route.ts'
import { boolean, closed, integer, named, nullable, object, oneOf, string, time } from './schema.ts'
import { id, idText, name, page, paging } from './shapes.ts'
import { tenantOf } from './tenant.ts'

const state = oneOf(['delivered', 'retrying', 'put_back', 'failed', 'cancelled'])

const delivery = named(
  'Delivery',
  object({
    id,
    at: time,
    job: integer({ description: 'That delivers' }),
    attempt: integer(),
    endpoint: string(),
    message: string({ description: 'webhook-id: the same for every attempt, and for whatever is sent again' }),
    event: string({ description: 'job.completed … webhook.test' }),
    about: nullable(integer({ description: 'The job that is told of' })),
    state,
    status: nullable(integer({ description: 'Null: there was no answer; code says why' })),
    code: nullable(string()),
    latency_ms: nullable(integer({ description: 'Null: it was not sent' })),
    response: nullable(string({ description: 'How the answer began, up to 1000 characters' })),
  }),
)

const since = string({ format: 'date-time', description: 'At or after' })
const until = string({ format: 'date-time', description: 'Before' })
const filter = {
  job: string({ pattern: '^[0-9]{1,18}$', description: 'The one that delivers' }),
  about: string({ pattern: '^[0-9]{1,18}$', description: 'The job that is told of' }),
  ...{ state, since, until },
}

export const deliveryRoutes = [
  route({
    method: 'GET',
    path: '/api/deliveries',
    scope: 'read',
    tenants: 'own',
    summary: 'Lists attempts to deliver webhooks, newest first; all that is given must hold.',
    query: { endpoint: string({ maxLength: 200 }), tenant: string({ maxLength: 200 }), ...filter, ...paging },
    answer: page(delivery),
    run: ({ query: { limit, cursor, ...filter } }, call) => listed(call, filter, { limit, cursor }),
  }),
  route({
    method: 'GET',
    path: '/api/endpoints/:name/deliveries',
    scope: 'read',
    tenants: 'own',
    summary: 'The same of one endpoint.',
    params: { name },
    query: { ...filter, ...paging },
    answer: page(delivery),
    errors: ['not_found'],
    async run({ params: { name }, query: { limit, cursor, ...filter } }, call) {
      await ownEndpoint(call, name)
      return listed(call, { ...filter, endpoint: name }, { limit, cursor })
    },
  }),
  route({
    method: 'POST',
    path: '/api/deliveries/:job/redeliver',
    scope: 'operate',
    tenants: 'own',
    summary: 'Sends one delivery again under the same webhook-id, by its job; answers the job that delivers it now.',
    params: { job: idText },
    answer: object({ job: id }),
    errors: ['not_found', 'endpoint_disabled', 'not_retryable'],
    run: async ({ params: { job } }, { admin, tenant }) => ({
      job: done(await admin.deliveries.redeliver(job, { tenant })),
    }),
  }),
  route({
    method: 'POST',
    path: '/api/endpoints/:name/redeliver',
    scope: 'operate',
    tenants: 'own',
    summary:
      'Sends again what failed at an endpoint, a part of it; hand the cursor back for the next, until it is null.',
    params: { name },
    body: closed(
      {},
      {
        ...{ since, until },
        failed_only: boolean({ description: 'False: also what has got through, each event once' }),
        limit: integer({ minimum: 1, maximum: 500, description: '100 unless given' }),
        cursor: string({
          maxLength: 100,
          description: 'Of the part before; with the same since, until and failed_only',
        }),
      },
    ),
    answer: object({
      redelivered: integer(),
      refused: integer({ description: 'Not readable any more, or not of this endpoint as it is now' }),
      cursor: nullable(string()),
    }),
    errors: ['not_found', 'endpoint_disabled'],
    async run({ params: { name }, body: { since, until, failed_only: onlyFailed, limit, cursor } }, call) {
      if ((await ownEndpoint(call, name)).state === 'disabled') throw disabled()
      return call.admin.deliveries.redeliverSome(name, { since, until, onlyFailed }, { limit, cursor })
    },
  }),
]

const listed = (call: Call, filter: DeliveryFilter, paged: PageOptions): Promise<Page<DeliveryView>> =>
  call.admin.deliveries.list({ ...filter, tenant: tenantOf(call, filter.tenant) }, paged)

const disabled = (): Problem =>
  new Problem('endpoint_disabled', 'The endpoint is disabled', { hint: 'Enable it first.' })

/** @throws {Problem} */
function done({ id, problem }: Redelivered): number {
  if (id !== null) return id
  if (problem === 'endpoint_disabled') throw disabled()
  if (problem === 'not_retryable') throw new Problem(problem, 'The delivery is under way')
  throw notFound(problem === 'no_endpoint' ? 'endpoint' : 'delivery')
}
