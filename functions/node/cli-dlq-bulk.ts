// `millrace dlq retry` and `millrace dlq purge`, and the options that say which dead letters.

import type { BulkDeadLetterFilter } from '../../core/admin/dead-letters.ts'
import { adminCommand, byOption, confirm, ids, yesOption } from './cli-admin.ts'
import { Failure, integer, type Options, UsageError, type ValuesOf } from './cli-command.ts'

export const filterOptions = {
  queue: { type: 'string', value: 'QUEUE', help: 'of this queue' },
  kind: { type: 'string', value: 'KIND', help: 'of this kind' },
  reason: { type: 'string', value: 'REASON', help: 'died of this: terminal_error, max_attempts_exhausted ...' },
  tag: { type: 'string', value: 'TAG', help: 'with this tag' },
  tenant: { type: 'string', value: 'TENANT', help: 'of this tenant (metadata.tenant)' },
} as const satisfies Options
const bulkOptions = { ...filterOptions, all: { type: 'boolean', help: 'all there are' } } as const satisfies Options

export const retryCommand = adminCommand({
  name: 'dlq retry',
  operands: '[id]...',
  summary: 'Retries dead letters by id or by filter, with all attempts before them.',
  details: 'Asks first when it goes by a filter. Exit status: 1 if one of them was not retried.',
  options: {
    ...bulkOptions,
    'to-queue': { type: 'string', value: 'QUEUE', help: 'into this queue' },
    'to-priority': { type: 'string', value: 'N', help: 'with this priority: 1 (first) to 4 (last)' },
    ...byOption,
    ...yesOption,
  },
  async run({ positionals, admin, result, ...run }) {
    const filter = bulkFilter(positionals, run.values)
    const lane = {
      queue: run.values['to-queue'],
      priority: integer('to-priority', run.values['to-priority'], 1, 4),
    }
    if (!filter.ids) await confirm(`This retries ${described(filter)}.`, run)
    const { retried, refused } = await admin.deadLetters.retry(filter, lane)
    const missing = missed(filter, retried + refused.length)
    result(`${retried} retried`, { retried, refused })
    const [first] = refused
    if (first) throw new Failure(first.problem, `${refused.length} not retried, job ${first.id} among them`)
    if (missing > 0) throw new Failure('not_found', `${missing} of the jobs given are no dead letters (any more)`)
  },
})

export const purgeCommand = adminCommand({
  name: 'dlq purge',
  operands: '[id]...',
  summary: 'Deletes dead letters for good, by id or by filter.',
  details: 'Asks first. Exit status: 1 if one of the ids given is no dead letter.',
  options: { ...bulkOptions, ...byOption, ...yesOption },
  async run({ positionals, admin, result, ...run }) {
    const filter = bulkFilter(positionals, run.values)
    await confirm(`This deletes ${described(filter)}, for good.`, run)
    const purged = await admin.deadLetters.purge(filter)
    result(`${purged} deleted`, { purged })
    const missing = missed(filter, purged)
    if (missing > 0) throw new Failure('not_found', `${missing} of the jobs given are no dead letters (any more)`)
  },
})

/** By ids, or by a filter that says what it means. */
function bulkFilter(words: readonly string[], values: ValuesOf<typeof bulkOptions>): BulkDeadLetterFilter {
  const { queue, kind, reason, tag, tenant, all } = values
  const filter = { queue, kind, reason, tag, tenant }
  const ways = [words.length > 0, Object.values(filter).some(value => value !== undefined), all].filter(Boolean).length
  if (ways !== 1) throw new UsageError('ids, a filter, or --all: one of them is needed')
  return words.length > 0 ? { ids: ids(words) } : { ...filter, all }
}

function described({ ids, all, ...filter }: BulkDeadLetterFilter): string {
  if (ids) return `${ids.length} dead letter${ids.length === 1 ? '' : 's'}`
  const parts = Object.entries(filter).flatMap(([name, value]) => (value === undefined ? [] : [`${name} ${value}`]))
  return all ? 'all dead letters' : `all dead letters with ${parts.join(', ')}`
}

const missed = ({ ids }: BulkDeadLetterFilter, found: number): number => (ids ? ids.length - found : 0)
