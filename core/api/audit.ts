// The route that tells what operators did.

import { route } from './route.ts'
import { named, object, record, string, time } from './schema.ts'
import { id, page, paging } from './shapes.ts'

const entry = named(
  'AuditEntry',
  object({
    id,
    at: time,
    actor: string({ description: 'key:<name> of an API key, a person, or a user of the database' }),
    login: string({ description: 'The user of the database' }),
    action: string({ description: 'Such as job.cancel' }),
    detail: record,
  }),
)

export const auditRoutes = [
  route({
    method: 'GET',
    path: '/api/audit',
    scope: 'operate',
    summary: 'What operators did, latest first.',
    query: {
      actor: string({ maxLength: 200 }),
      action: string({ maxLength: 100, description: 'job.cancel, or job for all that begin like that' }),
      since: string({ format: 'date-time', description: 'At or after' }),
      until: string({ format: 'date-time', description: 'Before' }),
      ...paging,
    },
    answer: page(entry),
    run: ({ query: { limit, cursor, ...filter } }, { admin }) => admin.audit.list(filter, { limit, cursor }),
  }),
]
