// How many jobs of a queue or kind there are, in columns.

import type { Counts } from '../../core/admin/stats.ts'
import type { Column } from './cli-table.ts'

type Name = Exclude<keyof Counts, 'estimated'>

const column = (title: string, ...names: readonly Name[]): Column<Counts> => ({
  title,
  right: true,
  of: counts => {
    const sum = names.reduce((total, name) => total + counts[name], 0)
    return names.some(name => counts.estimated.includes(name)) ? `~${sum}` : sum
  },
})

export const countColumns: readonly Column<Counts>[] = [
  column('READY', 'available'),
  column('LATER', 'scheduled', 'retryable'),
  column('RUNNING', 'running', 'waiting_external'),
  column('DEAD', 'dead_letters'),
  column('DONE/H', 'completed_last_hour'),
  column('FAILED/H', 'failed_last_hour'),
]
