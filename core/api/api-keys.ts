// Routes on API keys themselves: for keys of no tenant, and none makes one that may do more than it may itself.

import type { Scope } from '../api-key.ts'
import { notFound, Problem } from './problem.ts'
import { type Call, route } from './route.ts'
import { boolean, closed, integer, list, named, nullable, number, object, oneOf, string, time } from './schema.ts'
import { id, idText, page, paging } from './shapes.ts'

const scopes = list(oneOf(['enqueue', 'read', 'operate']), { minItems: 1, maxItems: 3 })

const parts = {
  id,
  name: string(),
  hint: string({ description: 'How the key begins' }),
  scopes,
  tenant: nullable(string({ description: 'Null: every one' })),
  created_at: time,
  created_by: string(),
  expires_at: nullable(time),
  expired: boolean(),
  used_at: nullable(time),
}

const apiKey = named('ApiKey', object(parts))

const madeKey = named('MadeApiKey', object({ ...parts, key: string({ description: 'Shown this one time' }) }))

const name = string({ minLength: 1, maxLength: 100, description: 'Of one key at a time, for the audit log' })

export const apiKeyRoutes = [
  route({
    method: 'GET',
    path: '/api/keys',
    scope: 'operate',
    summary: "Lists the database's keys, newest first; those of the configuration are not among them.",
    query: paging,
    answer: page(apiKey),
    run: ({ query }, { admin }) => admin.apiKeys.list(query),
  }),
  route({
    method: 'POST',
    path: '/api/keys',
    scope: 'operate',
    summary: 'Makes a key, which is shown this one time, with scopes that the caller has.',
    status: 201,
    body: closed(
      { name, scopes },
      {
        tenant: string({ minLength: 1, maxLength: 200, description: 'It may do with this tenant only' }),
        expires_seconds: number({ minimum: 1, maximum: 315_360_000 }),
      },
    ),
    answer: madeKey,
    errors: ['api_key_exists'],
    run({ body: { name, scopes, tenant, expires_seconds: expiresSeconds } }, call) {
      within(call, scopes)
      return call.admin.apiKeys.create({ name, scopes, tenant, expiresSeconds })
    },
  }),
  route({
    method: 'POST',
    path: '/api/keys/:id/rotate',
    scope: 'operate',
    summary: 'Makes another key of the same name and rights; the one before is good for a day, or as long as is said.',
    status: 201,
    params: { id: idText },
    body: closed({}, { grace_seconds: integer({ minimum: 0, maximum: 31_536_000 }) }),
    answer: madeKey,
    errors: ['not_found'],
    async run({ params: { id }, body: { grace_seconds: graceSeconds } }, call) {
      const before = await call.admin.apiKeys.get(id)
      within(call, before?.scopes ?? [])
      const made = before && (await call.admin.apiKeys.rotate(id, { graceSeconds }))
      if (made === undefined) throw notFound('key')
      return made
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/keys/:id',
    scope: 'operate',
    summary: 'Revokes a key: within ten seconds nothing takes it any more.',
    params: { id: idText },
    answer: object({ revoked: boolean() }),
    errors: ['not_found'],
    async run({ params: { id } }, { admin }) {
      if (!(await admin.apiKeys.revoke(id))) throw notFound('key')
      return { revoked: true }
    },
  }),
]

/** @throws {Problem} `forbidden` */
function within({ key }: Call, scopes: readonly Scope[]): void {
  const lacking = scopes.find(scope => !key.scopes.has(scope))
  if (lacking !== undefined) throw new Problem('forbidden', `This key lacks the scope ${lacking} itself`)
}
