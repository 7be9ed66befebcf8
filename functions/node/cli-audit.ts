// `millrace audit`: what operators did.

import type { AuditEntry } from '../../core/admin/audit.ts'
import type { PageOptions } from '../../core/admin/calls.ts'
import { adminCommand, instant, none } from './cli-admin.ts'
import { pageOptions, printList } from './cli-list.ts'
import { type Column, moment } from './cli-table.ts'

const columns: readonly Column<AuditEntry>[] = [
  { title: 'AT', of: entry => moment(entry.at) },
  { title: 'ACTOR', of: ({ actor }) => actor, shrinks: true },
  { title: 'LOGIN', of: ({ login }) => login },
  { title: 'ACTION', of: ({ action }) => action },
  { title: 'DETAIL', of: ({ detail }) => JSON.stringify(detail), shrinks: true },
]

export const auditCommand = adminCommand({
  name: 'audit',
  operands: '',
  summary: 'Lists what operators did, latest first.',
  details: 'By the program, the API or SQL. ACTOR is who they said they are, LOGIN the user of the database.',
  options: {
    actor: { type: 'string', value: 'WHO', help: 'by this one: key:NAME of an API key, ann@laptop' },
    action: { type: 'string', value: 'ACTION', help: 'job.cancel, or job for all that begin like that' },
    since: { type: 'string', value: 'TIME', help: 'at or after: ISO 8601, or how long ago, such as 2h' },
    until: { type: 'string', value: 'TIME', help: 'before' },
    ...pageOptions,
  },
  async run({ positionals, admin, ...run }) {
    none(positionals)
    const { actor, action } = run.values
    const since = instant('since', run.values.since)
    const filter = { actor, action, since, until: instant('until', run.values.until) }
    const ask = (page: PageOptions) => admin.audit.list(filter, page)
    await printList(run, { ask, columns, none: 'Nothing was done' })
  },
})
