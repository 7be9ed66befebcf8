// A Worker that is everything: functions, enqueueing, ingress, API and maintenance objects, over each driver below a path of its own.

import { Client, neonConfig } from '@neondatabase/serverless'
import { defineKind, enqueue } from 'millrace'
import {
  apiWorker,
  callbacksWorker,
  clientDatabase,
  type FetchWorker,
  type MaintenanceNamespace,
  type MaintenanceObjectOptions,
  maintenanceCron,
  maintenanceObject,
  postgresDatabase,
  type WorkerContext,
  wakeMaintenance,
} from 'millrace/cloudflare'
import { handle, serve } from 'millrace/function'
import postgres from 'postgres'
import * as v from 'valibot'

interface Env {
  readonly DB: { readonly connectionString: string }
  readonly DIRECT_URL: string
  readonly NEON_URL: string
  readonly NEON_PROXY: string
  readonly BASE_URL: string
  readonly MILLRACE_KEYS: string
  readonly MILLRACE_DISPATCH_KEYS: string
  readonly MILLRACE_API_KEYS: string
  readonly HYPERDRIVE_MAINTENANCE: MaintenanceNamespace
  readonly DIRECT_MAINTENANCE: MaintenanceNamespace
  readonly NEON_MAINTENANCE: MaintenanceNamespace
}

const DRIVERS = ['hyperdrive', 'direct', 'neon'] as const
type Driver = (typeof DRIVERS)[number]

const args = v.object({ width: v.number(), failures: v.optional(v.number(), 0) })
const resize = defineKind({ name: 'resize', args })
const kinds = [resize, defineKind({ name: 'resize_bound', args })]

const receiver = serve({
  kinds: kinds.map(kind =>
    handle(kind, ({ width, failures }, job) => {
      if (job.attempt <= failures) throw new Error('not yet')
      return { height: 2 * width, runsOn: navigator.userAgent }
    }),
  ),
  dispatchKeys: env => (env as Env).MILLRACE_DISPATCH_KEYS,
})

function neonClient({ NEON_URL, NEON_PROXY }: Env): Client {
  neonConfig.wsProxy = (host, port) => `${NEON_PROXY}/v1?address=${host}:${port}`
  // Plain text on the loopback, and no shortcuts that assume Neon's own proxy and its password method.
  neonConfig.useSecureWebSocket = neonConfig.pipelineTLS = false
  neonConfig.pipelineConnect = false
  return new Client(NEON_URL)
}

const urlOf = (driver: Driver, env: Env) => (driver === 'hyperdrive' ? env.DB.connectionString : env.DIRECT_URL)

const databaseOf = (driver: Driver, env: Env) =>
  driver === 'neon'
    ? clientDatabase(neonClient(env))
    : postgresDatabase(urlOf(driver, env), { prepare: true, patienceSeconds: 2 })

const maintenanceOf = (driver: Driver, env: Env): MaintenanceNamespace =>
  ({ hyperdrive: env.HYPERDRIVE_MAINTENANCE, direct: env.DIRECT_MAINTENANCE, neon: env.NEON_MAINTENANCE })[driver]

interface Order {
  readonly kind: 'resize' | 'resize_bound'
  readonly args: { width: number; failures?: number }
  readonly delaySeconds?: number
}

/** Enqueues in a transaction of the driver's, which `fail` rolls back at its end. */
async function place(driver: Driver, env: Env, { kind, args, ...options }: Order, fail: boolean): Promise<string> {
  let job = ''
  const work = async (tx: Parameters<typeof enqueue>[0]) => {
    job = await enqueue(tx, kinds.find(({ name }) => name === kind) as typeof resize, args, options)
    if (fail) throw new Error('rolled back')
  }
  await (driver === 'neon' ? overNeon(env, work) : overPostgres(urlOf(driver, env), work)).catch(error => {
    if (!fail) throw error
  })
  return job
}

async function overNeon(env: Env, work: (tx: Client) => Promise<void>): Promise<void> {
  const client = neonClient(env)
  await client.connect()
  try {
    await client.query('begin')
    await work(client)
    await client.query('commit')
  } catch (error) {
    await client.query('rollback')
    throw error
  } finally {
    await client.end()
  }
}

async function overPostgres(url: string, work: (tx: postgres.TransactionSql) => Promise<void>): Promise<void> {
  const sql = postgres(url, { max: 1, fetch_types: false })
  try {
    await sql.begin(work)
  } finally {
    await sql.end()
  }
}

async function orders(driver: Driver, request: Request, env: Env, ctx: WorkerContext): Promise<Response> {
  const { searchParams } = new URL(request.url)
  const job = await place(driver, env, await request.json(), searchParams.has('fail'))
  if (!searchParams.has('quiet')) ctx.waitUntil(wakeMaintenance(maintenanceOf(driver, env)))
  return Response.json({ job })
}

const workersOf = (driver: Driver): Readonly<Record<'callbacks' | 'api', FetchWorker<Env>>> => ({
  callbacks: callbacksWorker<Env>(env => ({
    database: databaseOf(driver, env),
    keyring: env.MILLRACE_KEYS,
    maintenance: maintenanceOf(driver, env),
  })),
  api: apiWorker<Env>(env => ({
    database: databaseOf(driver, env),
    apiKeys: env.MILLRACE_API_KEYS,
    maintenance: maintenanceOf(driver, env),
  })),
})

const workers = Object.fromEntries(DRIVERS.map(driver => [driver, workersOf(driver)]))

/** `/neon/api/jobs` is `/api/jobs` of the API over Neon's driver. */
async function route(request: Request, env: Env, ctx: WorkerContext): Promise<Response> {
  const url = new URL(request.url)
  const driver = url.pathname.split('/')[1] as Driver
  const path = url.pathname.slice(driver.length + 1)
  if (path === '/jobs') return receiver.fetch(request, env, ctx)
  if (path === '/orders') return orders(driver, request, env, ctx)
  if (path === '/wake') {
    await wakeMaintenance(maintenanceOf(driver, env), { name: url.searchParams.get('name') ?? undefined })
    return new Response()
  }
  url.pathname = path
  const isCallback = /^\/api\/(callbacks|events)\//.test(path)
  const worker = workers[driver]?.[isCallback ? 'callbacks' : 'api']
  return worker?.fetch(new Request(url, request), env, ctx) ?? new Response(null, { status: 404 })
}

const objectOf = (driver: Driver) =>
  maintenanceObject<Env>(
    (env): MaintenanceObjectOptions => ({
      database: databaseOf(driver, env),
      keyring: env.MILLRACE_KEYS,
      callbackUrl: `${env.BASE_URL}/${driver}`,
      allow: ['loopback'],
      longestSleepSeconds: 3_600,
    }),
  )

export const HyperdriveMaintenance = objectOf('hyperdrive')
export const DirectMaintenance = objectOf('direct')
export const NeonMaintenance = objectOf('neon')

const cron = maintenanceCron<Env>(env => env.HYPERDRIVE_MAINTENANCE)
/** Of an object that nobody else ever wakes. */
const cronOfNew = maintenanceCron<Env>(env => env.DIRECT_MAINTENANCE, { name: 'new' })

export default {
  fetch: route,
  scheduled: (controller: { cron: string }, env: Env) =>
    (controller.cron === 'new' ? cronOfNew : cron)(controller, env),
}
