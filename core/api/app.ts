// The admin API: a Hono app over the admin module and the client, for those who hold a key.

import { Hono } from 'hono'
import { type AdminOptions, admin } from '../admin/admin.ts'
import { type Database, toSql } from '../drivers.ts'
import { parseKeyring } from '../protocol/keyring.ts'
import { type RequestLimits, requestLimits } from '../request-limits.ts'
import { quoteIdentifier } from '../sql.ts'
import type { AllowedTargets } from '../target-guard.ts'
import { apiKeyRoutes } from './api-keys.ts'
import { auditRoutes } from './audit.ts'
import { authorizing } from './authorize.ts'
import { batchRoutes } from './batches.ts'
import { deadLetterRoutes } from './dead-letters.ts'
import { deliveryRoutes } from './deliveries.ts'
import { endpointRoutes } from './endpoints.ts'
import { enqueueRoute } from './enqueue.ts'
import { eventRoutes } from './events.ts'
import { followUpRoutes } from './follow-ups.ts'
import { idempotencyKeyOf, inputOf } from './input.ts'
import { jobRoutes } from './jobs.ts'
import { type ApiKeyCache, apiKeyCache } from './key-cache.ts'
import { parseApiKeys } from './keys.ts'
import { bodyLimit, limited, msSince } from './limits.ts'
import { openApi } from './openapi.ts'
import { Problem, problemOf } from './problem.ts'
import { queueRoutes } from './queues.ts'
import { type Route, route, type Services } from './route.ts'
import { runtimeRoutes } from './runtimes.ts'
import { scheduleRoutes } from './schedules.ts'
import { record } from './schema.ts'

export interface ApiOptions {
  /** A pool; on Workers, where a connection belongs to one request, the request's own, and an app per request. */
  readonly sql: Database
  /** The schema that `millrace migrate` was told to use: `millrace`. */
  readonly schema?: string | undefined
  /**
   * Beside those of the database: `mk_…` or `mk_…:enqueue,read`, as {@link parseApiKeys} takes them; `database`: none. There have to
   * be some to begin with.
   */
  readonly apiKeys: string | readonly string[] | undefined
  /** What is known of the database's keys; on Workers one for all apps, or they ask the database at each request. */
  readonly keyCache?: ApiKeyCache | undefined
  /** What `millrace keys sealing` prints: webhook secrets are sealed with it. */
  readonly sealingKeys?: AdminOptions['sealingKeys']
  /** Where webhooks may go besides https to public addresses, as dispatchers are told: `allow`. */
  readonly allowTargets?: AllowedTargets | undefined
  /** 4 MiB. */
  readonly maxBodyBytes?: number | undefined
  /** {@link requestLimits} without a `clientOf` unless given: nothing is limited per client. */
  readonly limits?: RequestLimits | undefined
  readonly onEvent?: ((event: ApiEvent) => void) | undefined
}

/** One request as it was answered. */
export interface ApiEvent {
  readonly method: string
  /** The route's: `/api/jobs/:id`. */
  readonly path: string
  readonly status: number
  /** Of an error. */
  readonly code?: string
  /** How long it took. */
  readonly ms: number
  /** What the database failed with, behind some 400s and every 503. */
  readonly cause?: unknown
}

const MAX_BODY_BYTES = 4 * 1024 * 1024
/** Whoever asks without a key asks the database no more often than this. */
const READY_MS = 1_000

/** Every route that needs a key. */
export const apiRoutes: readonly Route[] = [
  enqueueRoute,
  ...jobRoutes,
  ...eventRoutes,
  ...deadLetterRoutes,
  ...followUpRoutes,
  ...queueRoutes,
  ...scheduleRoutes,
  ...batchRoutes,
  ...endpointRoutes,
  ...deliveryRoutes,
  ...runtimeRoutes,
  ...apiKeyRoutes,
  ...auditRoutes,
  route({
    method: 'GET',
    path: '/api/openapi.json',
    scope: undefined,
    tenants: 'shared',
    summary: 'This document.',
    answer: record,
    run: async () => openApiDocument() as never,
  }),
]

/** The OpenAPI 3.1 document of {@link apiApp}. */
export const openApiDocument = (): { readonly [key: string]: unknown } => openApi(apiRoutes)

/**
 * Makes the admin API: everything below `/api`, for the holders of a key; `GET /healthz`, which says that the app answers,
 * and `GET /readyz`, which asks the database. It is private: mount it where only your own services reach it, and with TLS.
 *
 * @throws {MillraceError} `invalid_configuration` without a key, or with one that is none; `invalid_keyring`; `unsupported_driver`
 * @example
 * const app = apiApp({ sql, apiKeys: process.env.MILLRACE_API_KEYS })
 */
export function apiApp(options: ApiOptions): Hono {
  const keys = parseApiKeys(options.apiKeys ?? [])
  const { schema = 'millrace', maxBodyBytes = MAX_BODY_BYTES, limits = requestLimits(), onEvent } = options
  const services: Services = { sql: toSql(options.sql), schema }
  const adminFor = adminMaker(services, options)
  const authorize = authorizing(keys, options.keyCache ?? apiKeyCache(), services)
  const app = new Hono()
  app.use(limited(limits))
  app.get('/healthz', c => c.json({ ok: true }))
  const ready = sharedFor(READY_MS, () => isReady(services))
  app.get('/readyz', async c => c.json({ ok: await ready() }))
  for (const route of apiRoutes) {
    app.on(route.method, route.path, async c => {
      const key = await authorize(c.req.header('authorization'), route)
      const answer = await route.run(await inputOf(route, c.req, bodyLimit(c, maxBodyBytes)), {
        ...services,
        ...{ key, tenant: key.tenant, admin: adminFor(key.actor) },
        idempotencyKey: idempotencyKeyOf(route, c.req),
        signal: c.req.raw.signal,
      })
      const { method, path, status = 200 } = route
      onEvent?.({ method, path, status, ms: msSince(c) })
      return Response.json(answer, { status })
    })
  }
  for (const [path, allow] of methodsByPath()) {
    app.all(path, async c => {
      await authorize(c.req.header('authorization'))
      throw new Problem('method_not_allowed', `This path takes ${allow}`, { headers: { allow } })
    })
  }
  app.all('*', async c => {
    await authorize(c.req.header('authorization'))
    throw new Problem('not_found', 'There is nothing at this path')
  })
  app.onError((error, c) => {
    const problem = problemOf(error)
    const { code, status, cause } = problem
    onEvent?.({ method: c.req.method, path: c.req.routePath, status, code, ms: msSince(c), cause })
    return problem.response()
  })
  return app
}

/** Tells now what is wrong with the options, not at a request. @throws {MillraceError} `invalid_configuration`, `invalid_keyring` */
function adminMaker({ sql, schema }: Services, { sealingKeys, allowTargets = [] }: ApiOptions) {
  const keyring = typeof sealingKeys === 'string' ? parseKeyring(sealingKeys) : sealingKeys
  const adminFor = (by: string) => admin(sql, { schema, by, sealingKeys: keyring, allowTargets, exact: true })
  adminFor('')
  return adminFor
}

/** @throws when the database is away, or has no engine in that schema */
async function isReady({ sql, schema }: Services): Promise<true> {
  await sql.query(`select ${quoteIdentifier(schema)}.job_state(0)`)
  return true
}

/** Calls at the same time, and those soon after one that went well, share what it answers. */
function sharedFor<T>(ms: number, work: () => Promise<T>): () => Promise<T> {
  let last: { readonly answer: Promise<T>; until: number } | undefined
  return () => {
    if (last !== undefined && performance.now() < last.until) return last.answer
    const begun = { answer: work(), until: Number.POSITIVE_INFINITY }
    last = begun
    begun.answer.then(
      () => {
        begun.until = performance.now() + ms
      },
      () => {
        begun.until = 0
      },
    )
    return begun.answer
  }
}

const methodsByPath = (): Map<string, string> =>
  new Map(
    [...Map.groupBy(apiRoutes, ({ path }) => path)].map(([path, routes]) => [
      path,
      routes.map(({ method }) => method).join(', '),
    ]),
  )
