// The OpenAPI document, made of the routes themselves.

import { IDEMPOTENCY_KEY } from './input.ts'
import { type ApiErrorCode, STATUS } from './problem.ts'
import type { Route } from './route.ts'
import { boolean, type JsonSchema, named, object, oneOf, type Shape, string } from './schema.ts'

type Part = { readonly [key: string]: unknown }

const INFO = {
  title: 'Millrace',
  version: '1',
  description: 'The private admin API. Job ids are numbers, times ISO 8601, parameters of lists may be repeated.',
}

/** OpenAPI 3.1; its schemas are JSON Schema 2020-12. */
export function openApi(routes: readonly Route[]): Part {
  const schemas = new Map<string, unknown>()
  const paths: Record<string, Record<string, unknown>> = {
    '/healthz': { get: probe('healthz', 'Says that the API answers.', errorResponses(ANY, schemas)) },
    '/readyz': { get: probe('readyz', 'Asks the database.', errorResponses([...ANY, 'unavailable'], schemas)) },
  }
  for (const route of routes) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route, schemas) }
  }
  return {
    openapi: '3.1.0',
    info: INFO,
    paths,
    components: {
      securitySchemes: { key: { type: 'http', scheme: 'bearer', description: 'An API key, mk_…' } },
      schemas: Object.fromEntries([...schemas].sort(([a], [b]) => (a < b ? -1 : 1))),
    },
    security: [{ key: [] }],
  }
}

/** For platforms that ask whether a process is well: they have no key. */
const probe = (operationId: string, summary: string, errors: Part): Part => ({
  operationId,
  summary,
  tags: ['health'],
  security: [],
  responses: {
    200: { description: 'Yes', content: { 'application/json': { schema: object({ ok: boolean() }) } } },
    ...errors,
  },
})

function operation(route: Route, schemas: Map<string, unknown>): Part {
  const { method, path, scope, tenants, summary, params, query, body, answer, status = 200, idempotent } = route
  const parameters = [
    ...parametersIn('path', params, schemas),
    ...parametersIn('query', query, schemas),
    ...(idempotent ? parametersIn('header', { 'Idempotency-Key': IDEMPOTENCY_KEY }, schemas) : []),
  ]
  return {
    operationId: operationId(method, path),
    summary,
    tags: [path.split('/')[2]],
    ...(scope && { 'x-scope': scope }),
    ...(tenants && { 'x-tenants': tenants }),
    ...(parameters.length > 0 && { parameters }),
    ...(body && {
      requestBody: { required: !isOptional(body), content: { 'application/json': { schema: hoisted(body, schemas) } } },
    }),
    responses: {
      [status]: { description: 'Done', content: { 'application/json': { schema: hoisted(answer, schemas) } } },
      ...errorResponses(errorsOf(route), schemas),
    },
  }
}

/** No body is as good as `{}`. */
const isOptional = ({ anyOf, required }: JsonSchema): boolean => anyOf === undefined && required === undefined

/** `getJobsById`, `postJobsByIdRetry` */
const operationId = (method: string, path: string): string =>
  [method.toLowerCase(), ...path.split('/').slice(2)]
    .map(part => part.replace(/^:/, 'by-').replaceAll(/\.(\w)/g, '-$1'))
    .join('-')
    .replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase())

const parametersIn = (place: 'path' | 'query' | 'header', shape: Shape, schemas: Map<string, unknown>): Part[] =>
  Object.entries(shape).map(([name, schema]) => ({
    name,
    in: place,
    ...(place === 'path' && { required: true }),
    schema: hoisted(schema, schemas),
  }))

/** Of every path. */
const ANY: readonly ApiErrorCode[] = ['url_too_long', 'too_many_requests']

/** What it names itself, and what follows from what it takes. */
function errorsOf({ method, scope, tenants, errors = [] }: Route): ApiErrorCode[] {
  const codes: ApiErrorCode[] = [
    'invalid_request',
    ...(method === 'POST' ? (['body_too_large', 'unsupported_media_type'] as const) : []),
    'unauthorized',
    ...(scope || tenants !== 'shared' ? (['forbidden'] as const) : []),
    'unavailable',
    ...ANY,
    ...errors,
  ]
  return codes.sort((a, b) => STATUS[a] - STATUS[b])
}

function errorResponses(codes: readonly ApiErrorCode[], schemas: Map<string, unknown>): Part {
  const byStatus = Map.groupBy(codes, code => STATUS[code])
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => [
      status,
      { description: codes.join(', '), content: { 'application/json': { schema: hoisted(error, schemas) } } },
    ]),
  )
}

const error = named(
  'Error',
  object({
    error: object(
      { code: oneOf(Object.keys(STATUS) as ApiErrorCode[], { description: 'Stable' }), message: string() },
      { hint: string({ description: 'What to do about it' }) },
    ),
  }),
)

/** Schemas with a title stand in the components, once, and are referred to. */
function hoisted(schema: JsonSchema, schemas: Map<string, unknown>): unknown {
  const { title, ...rest } = schema
  if (title === undefined) return inner(rest, schemas)
  if (!schemas.has(title)) {
    schemas.set(title, undefined)
    schemas.set(title, inner(rest, schemas))
  }
  return { $ref: `#/components/schemas/${title}` }
}

const inner = ({ items, properties, anyOf, ...plain }: JsonSchema, schemas: Map<string, unknown>): Part => ({
  ...plain,
  ...(items && { items: hoisted(items, schemas) }),
  ...(anyOf && { anyOf: anyOf.map(schema => hoisted(schema, schemas)) }),
  ...(properties && {
    properties: Object.fromEntries(
      Object.entries(properties).map(([name, schema]) => [name, hoisted(schema, schemas)]),
    ),
  }),
})
