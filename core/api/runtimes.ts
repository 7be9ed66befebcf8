// The route that tells who is at work.

import { route } from './route.ts'
import { boolean, integer, list, named, nullable, object, string, time } from './schema.ts'
import { id } from './shapes.ts'

const runtime = named(
  'Runtime',
  object({
    id,
    name: string(),
    started_at: time,
    seen_at: time,
    lost_at: time,
    sleeping: boolean(),
    alive: boolean({ description: 'It was seen in time' }),
  }),
)

const leader = named(
  'Leader',
  object({ name: string(), holder: string(), epoch: integer(), until: nullable(time), alive: boolean() }),
)

export const runtimeRoutes = [
  route({
    method: 'GET',
    path: '/api/runtimes',
    scope: 'read',
    summary: 'Dispatchers, and who holds the leases.',
    answer: object({ items: list(runtime), leaders: list(leader) }),
    run: async (_, { admin }) => ({ items: await admin.runtimes.list(), leaders: await admin.runtimes.leaders() }),
  }),
]
