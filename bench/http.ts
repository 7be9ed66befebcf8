// The dispatcher over HTTP, beside the same client and the same function server without a queue.

import { Maintenance } from '../core/maintenance.ts'
import { formatKeyring, generateKeyring } from '../core/protocol.ts'
import type { Sql } from '../core/sql.ts'
import { type PostgresSql, postgresSql } from '../functions/node/postgres-sql.ts'
import { undiciTransport } from '../functions/node/undici-transport.ts'
import { measured, withFreshSchema } from './database.ts'
import { type Counts, readCounts, startServer } from './servers.ts'

export interface HttpOptions {
  readonly seconds: number
  readonly mode: 'sync' | 'callback'
  readonly progress: (line: string) => void
}

interface Servers {
  readonly functionUrl: string
  readonly callbackUrl: string
}

/** Requests in flight, in both phases. */
const CONCURRENCY = 64
/** More than can be done, so that the queue never runs dry. */
const BACKLOG_PER_SECOND = { sync: 40_000, callback: 20_000 }
const BATCH = 1_000

export function benchHttp(serverUrl: string, { seconds, mode, progress }: HttpOptions) {
  return withFreshSchema(serverUrl, async url => {
    const keyring = formatKeyring(generateKeyring('bench'))
    const ingress = await startServer('ingress-server.ts', { DATABASE_URL: url, MILLRACE_KEYS: keyring })
    const functions = await startServer('function-server.ts', {})
    const servers = { functionUrl: functions.url, callbackUrl: ingress.url }
    const sql = postgresSql(url, { max: 5 })
    try {
      progress(`the bare loop of calls: ${seconds} s`)
      const bareLoopPerSecond = await bareLoop(servers, mode, seconds)
      const jobs = Math.ceil((seconds * BACKLOG_PER_SECOND[mode]) / BATCH) * BATCH
      const backlog = await measured(url, () => enqueue(sql, servers, mode, jobs))
      progress(`a backlog of ${jobs} jobs through Millrace: ${seconds} s`)
      const run = await measured(url, () => dispatch(sql, servers, keyring, { seconds, jobs }))
      const jobsPerSecond = Math.round(run.completed / run.elapsed)
      return {
        bench: 'http',
        mode,
        jobs: run.completed,
        jobsPerSecond,
        bareLoopPerSecond,
        ratio: Number((jobsPerSecond / bareLoopPerSecond).toFixed(3)),
        walBytesPerJob: Math.round(backlog.walBytes / jobs + run.walBytes / run.completedAfterDrain),
        deadTuplesPerJob: Number((run.deadTuples / run.completedAfterDrain).toFixed(4)),
        statementsPerJob: Number((run.statements / run.completed).toFixed(4)),
        ...(await balance(sql, functions.url, jobs)),
      }
    } finally {
      await sql.end()
      await Promise.all([functions.stop(), ingress.stop()])
    }
  })
}

/** The same transport and server; in callback mode each call is over once the server has posted its callback. */
async function bareLoop({ functionUrl, callbackUrl }: Servers, mode: HttpOptions['mode'], seconds: number) {
  const transport = undiciTransport()
  const end = performance.now() + seconds * 1000
  const began = performance.now()
  let calls = 0
  const loop = async () => {
    while (performance.now() < end) {
      calls++
      const callback = mode === 'callback' ? { callback_id: `${calls}`, callback_url: `${callbackUrl}/bare` } : {}
      const job = { job_id: calls, kind: 'email', args: ARGS, attempt: 1, max_attempts: 25, ...callback }
      await transport.post({
        origin: functionUrl,
        path: '/bare',
        headers: { 'content-type': 'application/json' },
        body: new TextEncoder().encode(JSON.stringify(job)),
        timeoutMs: 30_000,
        signal: NEVER,
      })
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, loop))
  if (mode === 'callback') await readCounts(callbackUrl, counts => counts.bare >= calls)
  const elapsed = (performance.now() - began) / 1000
  await transport.end()
  return Math.round(calls / elapsed)
}

async function enqueue(sql: Sql, { functionUrl }: Servers, mode: HttpOptions['mode'], jobs: number) {
  const target = { url: `${functionUrl}/jobs`, mode, concurrency: CONCURRENCY }
  const manifest = JSON.stringify({ kinds: [{ name: 'email', target }], subscriptions: [] })
  await sql.query('select millrace.sync_manifest($1::text::jsonb)', [manifest])
  const batch = JSON.stringify(Array.from({ length: BATCH }, () => ({ kind: 'email', args: ARGS })))
  for (let i = 0; i < jobs; i += BATCH) await sql.query('select millrace.enqueue_many($1::text::jsonb)', [batch])
  return {}
}

async function dispatch(sql: PostgresSql, { callbackUrl, functionUrl }: Servers, keyring: string, load: Load) {
  let statements = 0
  const counting: Sql = {
    query: (text, params) => {
      statements++
      return sql.query(text, params)
    },
  }
  const transport = undiciTransport()
  const maintenance = new Maintenance({ sql: counting, listener: sql, transport, keyring, callbackUrl })
  const began = performance.now()
  await maintenance.start()
  const end = began + load.seconds * 1000
  let completed = 0
  while (completed < load.jobs && performance.now() < end) {
    await new Promise(resolve => setTimeout(resolve, Math.min(200, end - performance.now())))
    completed = await completedJobs(sql)
  }
  const figures = { completed, elapsed: (performance.now() - began) / 1000, statements }
  await maintenance.stop()
  await transport.end()
  await readCounts(functionUrl, everyCallIsOver)
  return { ...figures, completedAfterDrain: await completedJobs(sql) }
}

interface Load {
  readonly seconds: number
  readonly jobs: number
}

const everyCallIsOver = ({ calls, answered, calledBack }: Counts): boolean => calls === answered + calledBack

async function completedJobs(sql: Sql): Promise<number> {
  const [row] = await sql.query<{ n: string }>(`select count(*) as n from millrace.outcome_log where state = 'c'`)
  return Number(row?.n)
}

/** Lost: jobs neither completed nor still to be done. Doubled: calls beyond one per completed job. */
async function balance(sql: Sql, functionUrl: string, jobs: number) {
  const { calls } = await readCounts(functionUrl, everyCallIsOver)
  const completed = await completedJobs(sql)
  const [row] = await sql.query<{ n: string }>(
    `select count(*) as n from millrace.job_log j where not exists (
       select from millrace.outcome_log o where o.slot = j.slot and o.id = j.id and o.attempt = j.attempt)`,
  )
  return { lost: jobs - completed - Number(row?.n), doubled: calls - completed }
}

const ARGS = { to: 'alice@example.com', subject: 'Welcome aboard', n: 0.5 }
const NEVER = new AbortController().signal
