// The dispatcher over HTTP, beside the same client and the same function server without a queue.

import { requestFor } from '../core/dispatch/request.ts'
import { Maintenance } from '../core/maintenance.ts'
import { formatKeyring, generateKeyring, parseKeyring } from '../core/protocol.ts'
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
const ROUNDS = 4

export function benchHttp(serverUrl: string, { seconds, mode, progress }: HttpOptions) {
  return withFreshSchema(serverUrl, async url => {
    const keyring = formatKeyring(generateKeyring('bench'))
    const ingress = await startServer('ingress-server.ts', { DATABASE_URL: url, MILLRACE_KEYS: keyring })
    const functions = await startServer('function-server.ts', {})
    const servers = { functionUrl: functions.url, callbackUrl: ingress.url }
    const sql = postgresSql(url, { max: 5 })
    try {
      const jobs = Math.ceil((seconds * BACKLOG_PER_SECOND[mode]) / BATCH) * BATCH
      progress(`enqueueing a backlog of ${jobs} jobs`)
      const backlog = await measured(url, () => enqueue(sql, servers, mode, jobs))
      progress(`${ROUNDS} rounds of the bare loop and of Millrace, ${seconds} s each in all`)
      const run = await measured(url, () => rounds(sql, servers, { keyring, mode, seconds: seconds / ROUNDS }))
      const completed = await completedJobs(sql)
      return {
        bench: 'http',
        mode,
        jobs: completed,
        jobsPerSecond: Math.round(run.jobs / run.jobSeconds),
        bareLoopPerSecond: Math.round(run.calls / run.callSeconds),
        ratio: Number((run.jobs / run.jobSeconds / (run.calls / run.callSeconds)).toFixed(3)),
        walBytesPerJob: Math.round(backlog.walBytes / jobs + run.walBytes / completed),
        deadTuplesPerJob: Number((run.deadTuples / completed).toFixed(4)),
        statementsPerJob: Number((run.statements / run.jobs).toFixed(4)),
        ...(await balance(sql, functions.url, jobs)),
      }
    } finally {
      await sql.end()
      await Promise.all([functions.stop(), ingress.stop()])
    }
  })
}

/** Both by turns, since a machine's speed changes from one second to the next. */
async function rounds(sql: PostgresSql, servers: Servers, load: Load) {
  const sum = { calls: 0, callSeconds: 0, jobs: 0, jobSeconds: 0, statements: 0 }
  for (let round = 0; round < ROUNDS; round++) {
    const bare = await bareLoop(servers, load)
    sum.calls += bare.calls
    sum.callSeconds += bare.elapsed
    const run = await dispatch(sql, servers, load)
    sum.jobs += run.jobs
    sum.jobSeconds += run.elapsed
    sum.statements += run.statements
  }
  return sum
}

/** The same transport, server and request; in callback mode a call is over once the server has posted its callback. */
async function bareLoop({ functionUrl, callbackUrl }: Servers, { keyring, mode, seconds }: Load) {
  const transport = undiciTransport({ allow: ['loopback'] })
  const target = { origin: functionUrl, path: '/bare', headers: {}, requestTimeoutSeconds: 30 }
  const rules = {
    mode,
    callbackTimeoutSeconds: 3600,
    ambiguitySeconds: 60,
    concurrency: CONCURRENCY,
    isFinal: () => false,
  }
  const sender = {
    keyring: parseKeyring(keyring),
    callbackBase: callbackUrl,
    callbackPrefix: '/bare',
    compatible: true,
  }
  const request = requestFor(JOB, { ...target, ...rules }, sender, Date.now(), new AbortController().signal)
  const { bare } = await readCounts(callbackUrl)
  const began = performance.now()
  const end = began + seconds * 1000
  let calls = 0
  const loop = async () => {
    for (; performance.now() < end; calls++) await transport.post(request)
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, loop))
  if (mode === 'callback') await readCounts(callbackUrl, counts => counts.bare >= bare + calls)
  const elapsed = (performance.now() - began) / 1000
  await transport.end()
  return { calls, elapsed }
}

async function enqueue(sql: Sql, { functionUrl }: Servers, mode: HttpOptions['mode'], jobs: number) {
  const target = { url: `${functionUrl}/jobs`, mode, concurrency: CONCURRENCY }
  const manifest = JSON.stringify({ kinds: [{ name: 'email', target }], subscriptions: [] })
  await sql.query('select millrace.sync_manifest($1::text::jsonb)', [manifest])
  const batch = JSON.stringify(Array.from({ length: BATCH }, () => ({ kind: 'email', args: ARGS })))
  for (let i = 0; i < jobs; i += BATCH) await sql.query('select millrace.enqueue_many($1::text::jsonb)', [batch])
  return {}
}

/** Claims until time is up; as in the bare loop, what has begun by then is finished, and both its jobs and its time count. */
async function dispatch(sql: PostgresSql, { callbackUrl, functionUrl }: Servers, { keyring, seconds }: Load) {
  let statements = 0
  const counting: Sql = {
    query: (text, params) => {
      statements++
      return sql.query(text, params)
    },
  }
  const transport = undiciTransport({ allow: ['loopback'] })
  const maintenance = new Maintenance({ sql: counting, listener: sql, transport, keyring, callbackUrl })
  const before = await completedJobs(sql)
  const began = performance.now()
  await maintenance.start()
  await new Promise(resolve => setTimeout(resolve, seconds * 1000))
  await maintenance.stop()
  await readCounts(functionUrl, everyCallIsOver)
  const elapsed = (performance.now() - began) / 1000
  await transport.end()
  return { jobs: (await completedJobs(sql)) - before, elapsed, statements }
}

interface Load {
  readonly keyring: string
  readonly mode: HttpOptions['mode']
  /** Of one round. */
  readonly seconds: number
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
/** A job as the dispatcher would have claimed it. */
const JOB = {
  segment: '0',
  id: '123456',
  attempt: 1,
  max_attempts: 25,
  kind: 'email',
  queue: 'default',
  args: JSON.stringify(ARGS),
  metadata: null,
  progress: null,
  enqueued_ms: Date.now(),
}
