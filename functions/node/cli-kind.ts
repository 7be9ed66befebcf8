// `millrace kind`: how many jobs there are of each kind.

import type { KindStats } from '../../core/admin/stats.ts'
import { adminCommand, none } from './cli-admin.ts'
import type { Group } from './cli-command.ts'
import { countColumns } from './cli-counts.ts'
import { type Column, table } from './cli-table.ts'

const columns: readonly Column<KindStats>[] = [
  { title: 'KIND', of: ({ kind }) => kind, shrinks: true },
  { title: 'QUEUE', of: ({ queue }) => queue, shrinks: true },
  ...countColumns,
  { title: 'DECLARED BY', of: ({ source }) => source, shrinks: true },
]

const listCommand = adminCommand({
  name: 'kind list',
  operands: '',
  summary: 'Lists the kinds that are declared, or of which there are jobs, with how many. ~ marks an estimate.',
  options: {},
  async run({ positionals, admin, result }) {
    none(positionals)
    const items = await admin.kinds.list()
    result(items.length > 0 ? table(items, columns).join('\n') : 'No kinds', { items, cursor: null })
  },
})

export const kindGroup: Group = {
  name: 'kind',
  summary: 'Lists kinds and how many jobs they have.',
  commands: [listCommand],
}
