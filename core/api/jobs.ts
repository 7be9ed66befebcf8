// Routes on jobs: lists, one job, retry, cancel, another lane.

import type { JobDetail, Moved, Retried } from '../admin/jobs.ts'
import { MillraceError } from '../errors.ts'
import { waitFor } from '../wait-for.ts'
import { jobFollowUpProblem } from './follow-ups.ts'
import { notFound, Problem } from './problem.ts'
import { type Call, route } from './route.ts'
import {
  boolean,
  closed,
  either,
  integer,
  json,
  list,
  named,
  nullable,
  number,
  object,
  record,
  string,
  time,
} from './schema.ts'
import {
  id,
  ids,
  idText,
  jobError,
  jobFilter,
  jobFilterOf,
  jobHead,
  jobState,
  lane,
  MAX_IDS,
  page,
  paging,
  queueName,
} from './shapes.ts'
import { own, ownOne, tenantOf, uniqueKeyOf, withOwn } from './tenant.ts'

/** Below the time that a platform lets a request take, and that a server which stops waits for those under way. */
const MAX_WAIT_SECONDS = 25

const wait = object({ name: string({ description: 'The event that it waits for' }), since: time, deadline: time })

const ends = { state: jobState, run_at: time, finished_at: nullable(time), wait: nullable(wait) }

export const jobRow = named('JobRow', object({ ...jobHead, ...ends, error: nullable(jobError) }))

const reason = object({}, { code: string(), message: string() })

const whole = {
  ...jobHead,
  ...ends,
  args: json,
  metadata: record,
  progress: json,
  errors: list(jobError),
  put_back: nullable(object({ since: time }, { code: string(), message: string() })),
  result: json,
  dead_letter: nullable(object({ reason: string(), died_at: time, expires_at: time })),
  attempted_at: nullable(time),
}

const jobWhole = named('JobWhole', object(whole))

const attempt = named(
  'Attempt',
  object({
    attempt: integer(),
    state: string({ description: 'How it ended, else what it is doing now' }),
    available_at: nullable(time),
    claimed_at: nullable(time),
    runtime: nullable(integer()),
    finished_at: nullable(time),
    error: nullable(reason),
  }),
)

const job = named('Job', object({ ...whole, attempts: list(attempt), follow_up_problems: list(jobFollowUpProblem) }))

const retried = named(
  'Retried',
  object({ id, state: nullable(jobState), retried: boolean(), problem: nullable(string()) }),
)
const cancelled = named(
  'Cancelled',
  object({ id, state: jobState, cancelled: boolean({ description: 'False: it had ended before' }) }),
)
const moved = named('Moved', object({ id, state: nullable(jobState), moved: boolean(), problem: nullable(string()) }))

const cancelReason = string({ maxLength: 1_000, description: "Kept as the message of the job's last error" })

export const jobRoutes = [
  route({
    method: 'GET',
    path: '/api/jobs',
    scope: 'read',
    tenants: 'own',
    summary: 'Lists jobs, newest first; all that is given must hold.',
    query: {
      ...jobFilter,
      id: list(idText, { maxItems: MAX_IDS }),
      full: boolean({ description: 'Whole jobs, with arguments, errors and result' }),
      ...paging,
    },
    answer: page(either(jobRow, jobWhole)),
    run({ query: { id: ids, full, limit, cursor, unique_key: key, ...filter } }, call) {
      const held = { tenant: tenantOf(call, filter.tenant), uniqueKey: uniqueKeyOf(call, key) }
      const paged = { limit, cursor, full: full as true }
      return call.admin.jobs.list({ ...jobFilterOf(filter), ...held, ids }, paged)
    },
  }),
  route({
    method: 'GET',
    path: '/api/jobs/:id',
    scope: 'read',
    tenants: 'own',
    summary: 'One job with everything that is known of it; with wait_seconds, once it has ended or the time is over.',
    params: { id: idText },
    query: { wait_seconds: number({ minimum: 0, maximum: MAX_WAIT_SECONDS }) },
    answer: job,
    errors: ['not_found'],
    async run({ params: { id }, query: { wait_seconds: seconds } }, call) {
      await ownOne(call, id)
      if (seconds !== undefined) await ended(id, seconds, call)
      return found(await call.admin.jobs.get(id))
    },
  }),
  route({
    method: 'POST',
    path: '/api/jobs/:id/retry',
    scope: 'operate',
    tenants: 'own',
    summary:
      "Retries a failed or cancelled job at once, with all of its kind's attempts before it; one that waits runs now.",
    params: { id: idText },
    answer: retried,
    errors: ['not_found', 'not_retryable', 'unique_conflict'],
    async run({ params: { id } }, call) {
      await ownOne(call, id)
      return done(only(await call.admin.jobs.retry([id])))
    },
  }),
  route({
    method: 'POST',
    path: '/api/jobs/:id/cancel',
    scope: 'operate',
    tenants: 'own',
    summary: 'Cancels a job that has not ended, also a running one.',
    params: { id: idText },
    body: closed({}, { reason: cancelReason }),
    answer: cancelled,
    errors: ['not_found'],
    async run({ params: { id }, body: { reason } }, call) {
      await ownOne(call, id)
      return only(await call.admin.jobs.cancel([id], reason))
    },
  }),
  route({
    method: 'POST',
    path: '/api/jobs/:id/move',
    scope: 'operate',
    tenants: 'own',
    summary: 'Moves a job that waits into another queue or priority.',
    params: { id: idText },
    body: closed({}, lane),
    answer: moved,
    errors: ['not_found', 'not_movable', 'invalid_queue', 'invalid_priority'],
    async run({ params: { id }, body }, call) {
      await ownOne(call, id)
      return done(only(await call.admin.jobs.move([id], body)))
    },
  }),
  route({
    method: 'POST',
    path: '/api/jobs/retry',
    scope: 'operate',
    tenants: 'own',
    summary: 'Retries jobs by their ids, and tells of each what became of it.',
    body: closed({ ids }),
    answer: object({ items: list(retried) }),
    run: async ({ body: { ids } }, call) => ({
      items: await withOwn(call, ids, mine => call.admin.jobs.retry(mine), unretried),
    }),
  }),
  route({
    method: 'POST',
    path: '/api/jobs/cancel',
    scope: 'operate',
    tenants: 'own',
    summary: 'Cancels jobs by their ids, or the one that took a unique key last. Unknown ones are not in the answer.',
    body: either(
      closed({ ids }, { reason: cancelReason }),
      closed({ unique_key: string({ minLength: 1, maxLength: 200 }) }, { reason: cancelReason }),
    ),
    answer: object({ items: list(cancelled) }),
    async run({ body }, call) {
      const { jobs } = call.admin
      if ('ids' in body) return { items: await jobs.cancel(await own(call, body.ids), body.reason) }
      const key = uniqueKeyOf(call, body.unique_key)
      const job = (await mayCancel(key, call)) ? await jobs.cancelByKey(key, body.reason) : undefined
      return { items: job ? [job] : [] }
    },
  }),
  route({
    method: 'POST',
    path: '/api/jobs/move',
    scope: 'operate',
    tenants: 'own',
    summary: 'Moves jobs that wait, by their ids, into another queue or priority, and tells of each what became of it.',
    body: closed({ ids }, { queue: queueName, priority: lane.priority }),
    answer: object({ items: list(moved) }),
    errors: ['invalid_queue', 'invalid_priority'],
    run: async ({ body: { ids, ...to } }, call) => ({
      items: await withOwn(call, ids, mine => call.admin.jobs.move(mine, to), unmoved),
    }),
  }),
]

/** What is said of a job that is not there. */
const unretried = (id: number): Retried => ({ id, state: null, retried: false, problem: 'not_found' })
const unmoved = (id: number): Moved => ({ id, state: null, moved: false, problem: 'not_found' })

/** Whoever writes SQL may have put any job under a key. */
async function mayCancel(uniqueKey: string, { tenant, admin }: Call): Promise<boolean> {
  return tenant === undefined || (await admin.jobs.list({ uniqueKey, tenant })).items.length > 0
}

/** Until it has ended, the time is over, there is no such job, or nobody waits for the answer any more. */
async function ended(id: string, timeoutSeconds: number, { sql, schema, signal }: Call): Promise<void> {
  try {
    await waitFor(sql, id, { timeoutSeconds, schema, signal })
  } catch (error) {
    const expected = error instanceof MillraceError && (error.code === 'timeout' || error.code === 'not_found')
    if (!expected && !signal.aborted) throw error
  }
}

function found(job: JobDetail | undefined): JobDetail {
  if (job === undefined) throw notFound('job')
  return job
}

function only<Item>([item]: readonly Item[]): Item {
  if (item === undefined) throw notFound('job')
  return item
}

const WHY: Readonly<Record<string, string>> = {
  not_retryable: 'The job is running, ready or completed, so it cannot be retried',
  not_movable: 'The job is running or has ended, so it cannot be moved',
  unique_conflict: 'Another job has the unique key of this one by now',
}

/** What could not be done to the one job that was asked for is an error. */
function done<Item extends Retried | Moved>(item: Item): Item {
  if (item.problem === 'not_found') throw notFound('job')
  if (item.problem !== null) throw new Problem(item.problem, WHY[item.problem] as string)
  return item
}
