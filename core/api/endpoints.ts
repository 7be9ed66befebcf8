// Routes on webhook endpoints: made, looked at, changed, given another secret, tried, switched off and on.

import type { EndpointView } from '../admin/endpoints.ts'
import { JOB_EVENTS } from '../follow-up.ts'
import { notFound } from './problem.ts'
import { type Call, route } from './route.ts'
import { boolean, closed, list, named, nullable, number, object, oneOf, string, time } from './schema.ts'
import { id, name, page, paging } from './shapes.ts'
import { tenantOf } from './tenant.ts'

const state = oneOf(['enabled', 'failing', 'disabled'], {
  description: 'failing: the last delivery did not get through',
})
const signature = oneOf(['v1', 'v1a'], { description: 'v1: HMAC-SHA256; v1a: Ed25519' })
const events = list(oneOf(JOB_EVENTS))
const kinds = nullable(list(string(), { description: 'Null: every one' }))
const text = nullable(string())

const parts = {
  name: string(),
  tenant: nullable(string({ description: "Null: hears of every tenant's jobs" })),
  kinds,
  events,
  url: string(),
  signature,
  description: text,
  source: nullable(string({ description: 'The manifest that declares it, where it is changed; null: made here' })),
  state,
  created_at: time,
  failing_since: nullable(time),
  disabled_at: nullable(time),
  disabled_reason: nullable(oneOf(['operator', 'gone', 'failing'], { description: 'gone: it answered 410' })),
  last_success_at: nullable(time),
  last_failure_at: nullable(time),
  secrets: list(object({ created_at: time, expires_at: nullable(time), sealed: boolean() }), {
    description: 'Those that sign, the newest first',
  }),
}

const endpoint = named('Endpoint', object(parts))

const endpointWithSecret = named(
  'EndpointWithSecret',
  object(parts, {
    secret: string({ description: 'whsec_…, for the receiver of an endpoint with v1; shown this one time' }),
    public_key: string({ description: 'whpk_…, for the receiver of an endpoint with v1a' }),
  }),
)

const given = { tenant: text, kinds, events, description: text }
const wrong = ['invalid_endpoint'] as const

export const endpointRoutes = [
  route({
    method: 'GET',
    path: '/api/endpoints',
    scope: 'read',
    tenants: 'own',
    summary: 'Lists webhook endpoints by name; all that is given must hold.',
    query: {
      ...{ tenant: string({ maxLength: 200 }), source: string({ maxLength: 200 }), state },
      ...{ limit: paging.limit, cursor: string({ maxLength: 200, description: paging.cursor.description as string }) },
    },
    answer: page(endpoint),
    run: ({ query: { limit, cursor, tenant, ...filter } }, call) =>
      call.admin.endpoints.list({ ...filter, tenant: tenantOf(call, tenant) }, { limit, cursor }),
  }),
  route({
    method: 'POST',
    path: '/api/endpoints',
    scope: 'operate',
    tenants: 'own',
    summary: 'Makes an endpoint, of an https URL unless the deployment allows more. Its secret is shown this one time.',
    status: 201,
    body: closed({ name, url: string() }, { ...given, signature }),
    answer: endpointWithSecret,
    errors: [...wrong, 'endpoint_exists'],
    run: ({ body: { tenant, ...rest } }, call) =>
      call.admin.endpoints.create({ ...whole(rest), tenant: tenantOf(call, tenant ?? undefined) ?? null }),
  }),
  route({
    method: 'GET',
    path: '/api/endpoints/:name',
    scope: 'read',
    tenants: 'own',
    summary: 'One endpoint; never its secrets.',
    params: { name },
    answer: endpoint,
    errors: ['not_found'],
    run: ({ params: { name } }, call) => ownEndpoint(call, name),
  }),
  route({
    method: 'POST',
    path: '/api/endpoints/:name',
    scope: 'operate',
    tenants: 'own',
    summary: 'Changes what is given, and keeps the rest. Another url is given a fresh chance.',
    params: { name },
    body: closed({}, { url: string(), ...given }),
    answer: endpoint,
    errors: [...wrong, 'not_found', 'endpoint_declared'],
    async run({ params: { name }, body }, call) {
      await ownEndpoint(call, name)
      if (body.tenant !== undefined) tenantOf(call, body.tenant ?? '')
      return there(await call.admin.endpoints.update(name, whole(body)))
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/endpoints/:name',
    scope: 'operate',
    tenants: 'own',
    summary: 'Deletes an endpoint with its secrets; what is on its way to it fails.',
    params: { name },
    answer: object({ deleted: boolean() }),
    errors: ['not_found', 'endpoint_declared'],
    async run({ params: { name } }, call) {
      await ownEndpoint(call, name)
      if (!(await call.admin.endpoints.delete(name))) throw notFound('endpoint')
      return { deleted: true }
    },
  }),
  route({
    method: 'POST',
    path: '/api/endpoints/:name/rotate-secret',
    scope: 'operate',
    tenants: 'own',
    summary: 'Makes another secret, shown this one time; those before sign along for a day, or as long as is said.',
    status: 201,
    params: { name },
    body: closed({}, { grace_seconds: number({ minimum: 0, maximum: 31_536_000 }), signature }),
    answer: endpointWithSecret,
    errors: ['not_found', 'endpoint_declared'],
    async run({ params: { name }, body: { grace_seconds: graceSeconds, signature } }, call) {
      await ownEndpoint(call, name)
      return there(await call.admin.endpoints.rotate(name, whole({ graceSeconds, signature })))
    },
  }),
  ...(['enable', 'disable'] as const).map(verb =>
    route({
      method: 'POST',
      path: `/api/endpoints/:name/${verb}`,
      scope: 'operate',
      tenants: 'own',
      summary: {
        enable: 'Gives an endpoint a fresh chance.',
        disable: 'From now on what is to be delivered becomes dead letters, unsent.',
      }[verb],
      params: { name },
      answer: endpoint,
      errors: ['not_found'],
      async run({ params: { name } }, call) {
        await ownEndpoint(call, name)
        return there(await call.admin.endpoints[verb](name))
      },
    }),
  ),
  route({
    method: 'POST',
    path: '/api/endpoints/:name/test',
    scope: 'operate',
    tenants: 'own',
    summary: 'Sends a webhook.test, once; answers the job that delivers it.',
    status: 201,
    params: { name },
    answer: object({ job: id }),
    errors: ['not_found', 'endpoint_disabled'],
    async run({ params: { name } }, call) {
      await ownEndpoint(call, name)
      return { job: there(await call.admin.endpoints.test(name)) }
    },
  }),
]

/** As if there were the caller's own only. @throws {Problem} `not_found` */
export async function ownEndpoint({ tenant, admin }: Call, name: string): Promise<EndpointView> {
  const endpoint = there(await admin.endpoints.get(name))
  if (tenant !== undefined && endpoint.tenant !== tenant) throw notFound('endpoint')
  return endpoint
}

function there<T>(value: T | undefined): T {
  if (value === undefined) throw notFound('endpoint')
  return value
}

type Whole<T> = { [K in keyof T]: Exclude<T[K], undefined> }

/** What is undefined is not there. */
const whole = <T extends object>(given: T): Whole<T> =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Whole<T>
