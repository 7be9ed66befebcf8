// Routes on queues, kinds, and the numbers of both.

import type { Counts } from '../admin/stats.ts'
import { notFound } from './problem.ts'
import { route } from './route.ts'
import { boolean, closed, integer, list, named, nullable, number, object, string, time } from './schema.ts'
import { byBody, name, page, queueName } from './shapes.ts'

const counts = {
  available: integer(),
  scheduled: integer(),
  retryable: integer(),
  running: integer(),
  waiting_external: integer(),
  dead_letters: integer(),
  completed_last_hour: integer(),
  failed_last_hour: integer(),
  cancelled_last_hour: integer(),
  estimated: list(string(), { description: 'Which of the numbers are estimates' }),
}

const lag = nullable(number({ description: 'How long the first of the available jobs has waited; null: none waits' }))

const queue = named(
  'Queue',
  object({
    queue: string(),
    paused_at: nullable(time),
    paused_by: nullable(string()),
    source: nullable(string({ description: 'The application that declared it' })),
    weight: number(),
    shards: integer(),
    max_running: nullable(integer()),
    rate: nullable(number({ description: 'Attempts per second' })),
    burst: nullable(integer()),
    key_rate: nullable(number()),
    key_burst: nullable(integer()),
    lag_seconds: lag,
    ...counts,
  }),
)

const kind = named('Kind', object({ kind: string(), queue: nullable(string()), source: nullable(string()), ...counts }))

export const queueRoutes = [
  route({
    method: 'GET',
    path: '/api/queues',
    scope: 'read',
    summary: 'Lists queues by name: how many jobs are in each state, lag, limits, and whether they are paused.',
    answer: page(queue),
    run: async (_, { admin }) => ({ items: await admin.queues.list(), cursor: null }),
  }),
  route({
    method: 'GET',
    path: '/api/queues/:name',
    scope: 'read',
    summary: 'One queue.',
    params: { name },
    answer: queue,
    errors: ['not_found'],
    async run({ params: { name } }, { admin }) {
      const found = (await admin.queues.list()).find(({ queue }) => queue === name)
      if (found === undefined) throw notFound('queue')
      return found
    },
  }),
  route({
    method: 'POST',
    path: '/api/queues/:name/pause',
    scope: 'operate',
    summary: 'Nothing of the queue is dispatched from now on; what runs goes on. It need not be there yet.',
    params: { name: queueName },
    body: byBody,
    answer: object({ paused: boolean() }),
    errors: ['invalid_queue'],
    async run({ params: { name }, body: { by } }, { admin }) {
      await admin.queues.pause(name, by)
      return { paused: true }
    },
  }),
  route({
    method: 'POST',
    path: '/api/queues/:name/resume',
    scope: 'operate',
    summary: 'Lets a paused queue go on.',
    params: { name },
    answer: object({ resumed: boolean({ description: 'False: it was not paused' }) }),
    run: async ({ params: { name } }, { admin }) => ({ resumed: await admin.queues.resume(name) }),
  }),
  route({
    method: 'POST',
    path: '/api/queues/:name/drain',
    scope: 'operate',
    summary:
      'Cancels all jobs of the queue that do not run. Pause it first, or what is enqueued meanwhile is cancelled too.',
    params: { name },
    body: closed(
      {},
      { reason: string({ maxLength: 1_000, description: "Kept as the message of the jobs' last error" }) },
    ),
    answer: object({ cancelled: integer() }),
    run: async ({ params: { name }, body: { reason } }, { admin }) => ({
      cancelled: await admin.queues.drain(name, reason),
    }),
  }),
  route({
    method: 'GET',
    path: '/api/kinds',
    scope: 'read',
    summary: 'Lists kinds by name, with how many jobs are in each state.',
    answer: page(kind),
    run: async (_, { admin }) => ({ items: await admin.kinds.list(), cursor: null }),
  }),
  route({
    method: 'GET',
    path: '/api/stats',
    scope: 'read',
    summary: 'The numbers of all queues together; the lag is the longest.',
    answer: object({ queues: integer(), queues_paused: integer(), lag_seconds: lag, ...counts }),
    async run(_, { admin }) {
      const queues = await admin.queues.list()
      const lags = queues.flatMap(({ lag_seconds: lag }) => lag ?? [])
      return {
        queues: queues.length,
        queues_paused: queues.filter(({ paused_at: at }) => at !== null).length,
        lag_seconds: lags.length === 0 ? null : Math.max(...lags),
        ...total(queues),
      }
    },
  }),
]

type Counted = Exclude<keyof Counts, 'estimated'>

function total(all: readonly Counts[]): Counts {
  const names = Object.keys(counts).filter((name): name is Counted => name !== 'estimated')
  const sums = names.map(name => [name, all.reduce((sum, one) => sum + one[name], 0)])
  return { ...Object.fromEntries(sums), estimated: [...new Set(all.flatMap(({ estimated }) => estimated))] }
}
