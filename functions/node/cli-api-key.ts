// `millrace api-key`: the API's keys in the database.

import type { ApiKeyView, ApiKeyWithSecret } from '../../core/admin/api-keys.ts'
import type { PageOptions } from '../../core/admin/calls.ts'
import { SCOPES, type Scope } from '../../core/api-key.ts'
import { adminCommand, byOption, ids, none, one, seconds } from './cli-admin.ts'
import { Failure, type Group, UsageError } from './cli-command.ts'
import { pageOptions, printList } from './cli-list.ts'
import { type Column, moment } from './cli-table.ts'

const columns: readonly Column<ApiKeyView>[] = [
  { title: 'ID', of: ({ id }) => id, right: true },
  { title: 'NAME', of: ({ name }) => name, shrinks: true },
  { title: 'KEY', of: ({ hint }) => `${hint}...` },
  { title: 'SCOPES', of: ({ scopes }) => scopes.join(',') },
  { title: 'TENANT', of: ({ tenant }) => tenant, shrinks: true },
  { title: 'MADE', of: key => moment(key.created_at) },
  { title: 'BY', of: key => key.created_by, shrinks: true },
  { title: 'USED', of: key => moment(key.used_at) },
  { title: 'EXPIRES', of: key => (key.expired ? 'has expired' : moment(key.expires_at)) },
]

const createCommand = adminCommand({
  name: 'api-key create',
  operands: '',
  summary: 'Makes a key and prints it, this one time: the database has its hash only.',
  details: `Scopes: ${SCOPES.join(', ')}; enqueue and read unless given. The name is that of one key at a time, and stands in the
audit log. A key of a tenant sees and changes the jobs and endpoints of that tenant only.`,
  options: {
    name: { type: 'string', value: 'NAME', help: 'of whoever uses it' },
    scope: { type: 'string', value: 'SCOPE,...', help: `of ${SCOPES.join(', ')} (default: enqueue,read)` },
    tenant: { type: 'string', value: 'TENANT', help: 'for jobs of this tenant only' },
    expires: { type: 'string', value: 'TIME', help: 'good for so long: 90d, 12h (default: for ever)' },
    ...byOption,
  },
  async run({ positionals, values, admin, result, progress }) {
    none(positionals)
    const { name, tenant } = values
    if (!name) throw new UsageError('--name NAME is missing')
    const scopes = scopesOf(values.scope ?? 'enqueue,read')
    const made = await admin.apiKeys.create({
      name,
      scopes,
      tenant,
      expiresSeconds: seconds('expires', values.expires),
    })
    shown(made, result, progress)
  },
})

const listCommand = adminCommand({
  name: 'api-key list',
  operands: '',
  summary: 'Lists keys, newest first; expired ones for another 30 days.',
  options: pageOptions,
  async run({ positionals, admin, ...run }) {
    none(positionals)
    const ask = (page: PageOptions) => admin.apiKeys.list(page)
    await printList(run, { ask, columns, none: 'No keys' })
  },
})

const rotateCommand = adminCommand({
  name: 'api-key rotate',
  operands: '<id>',
  summary:
    'Makes another key of the same name and rights and prints it, this one time; the one before is good for a while.',
  options: {
    grace: { type: 'string', value: 'TIME', help: 'how long the one before is good (default: 1d; 0 for no longer)' },
    ...byOption,
  },
  async run({ positionals, values, admin, result, progress }) {
    const [id] = ids([one(positionals, 'id')]) as [string]
    const made = await admin.apiKeys.rotate(id, { graceSeconds: seconds('grace', values.grace) })
    if (!made) throw new Failure('not_found', `there is no key ${id}, or it has expired`)
    shown(made, result, progress)
  },
})

const revokeCommand = adminCommand({
  name: 'api-key revoke',
  operands: '<id>',
  summary: 'Revokes a key: within ten seconds no API takes it any more.',
  options: byOption,
  async run({ positionals, admin, result }) {
    const [id] = ids([one(positionals, 'id')]) as [string]
    if (!(await admin.apiKeys.revoke(id))) throw new Failure('not_found', `there is no key ${id}`)
    result(`key ${id} is revoked`, { id: Number(id), revoked: true })
  },
})

export const apiKeyGroup: Group = {
  name: 'api-key',
  summary: "Makes, lists, rotates and revokes the API's keys in the database.",
  commands: [createCommand, listCommand, rotateCommand, revokeCommand],
}

/** The key alone on stdout, so that it can be piped into a secret store. */
function shown(
  made: ApiKeyWithSecret,
  result: (text: string, value: unknown) => void,
  progress: (line: string) => void,
): void {
  const of = made.tenant === null ? '' : `, tenant ${made.tenant}`
  const until = made.expires_at === null ? '' : `, until ${made.expires_at}`
  progress(`key ${made.id}, ${made.name}: ${made.scopes.join(', ')}${of}${until}. It is shown this one time.`)
  result(made.key, made)
}

function scopesOf(text: string): Scope[] {
  const scopes = text.split(',')
  const wrong = scopes.find(scope => !(SCOPES as readonly string[]).includes(scope))
  if (wrong !== undefined) throw new UsageError(`--scope takes some of ${SCOPES.join(',')}, not "${wrong}"`)
  return scopes as Scope[]
}
