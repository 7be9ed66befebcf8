// `millrace batch`: bulk operations on jobs, which the leader does in the background.

import type { Batch } from '../../core/admin/batches.ts'
import { adminCommand, byOption, ids, none, one } from './cli-admin.ts'
import { batchText, previewCommand, submitCommand } from './cli-batch-submit.ts'
import { Failure, type Group, UsageError } from './cli-command.ts'
import { pageOptions, printList } from './cli-list.ts'
import { type Column, moment } from './cli-table.ts'

const STATES = ['pending', 'running', 'completed', 'cancelled'] as const

const columns: readonly Column<Batch>[] = [
  { title: 'ID', of: ({ id }) => id, right: true },
  { title: 'STATE', of: ({ state }) => state },
  { title: 'OPERATION', of: ({ operation }) => operation },
  { title: 'MATCHED', of: ({ matched }) => matched, right: true },
  { title: 'CHANGED', of: ({ changed }) => changed, right: true },
  { title: 'REFUSED', of: ({ refused }) => refused, right: true },
  { title: 'SUBMITTED', of: batch => moment(batch.created_at) },
  { title: 'BY', of: batch => batch.created_by, shrinks: true },
  { title: 'ENDED', of: batch => moment(batch.finished_at) },
  { title: 'FILTER', of: batch => JSON.stringify(batch.filter), shrinks: true },
]

const listCommand = adminCommand({
  name: 'batch list',
  operands: '',
  summary: 'Lists batches, newest first.',
  options: { state: { type: 'string', value: 'STATE', help: STATES.join(', ') }, ...pageOptions },
  async run({ positionals, admin, ...run }) {
    none(positionals)
    const state = STATES.find(known => known === run.values.state)
    if (run.values.state !== undefined && !state) throw new UsageError(`--state takes one of ${STATES.join(', ')}`)
    await printList(run, { ask: page => admin.batches.list({ ...page, state }), columns, none: 'No batches' })
  },
})

const showCommand = adminCommand({
  name: 'batch show',
  operands: '<id>',
  summary: 'Shows a batch, and how far it is.',
  options: {},
  async run({ positionals, admin, result }) {
    const [id] = ids([one(positionals, 'id')]) as [string]
    const batch = found(id, await admin.batches.get(id))
    result(batchText(batch), batch)
  },
})

const cancelCommand = adminCommand({
  name: 'batch cancel',
  operands: '<id>',
  summary: 'Stops a batch; what is done stays done.',
  options: byOption,
  async run({ positionals, admin, result }) {
    const [id] = ids([one(positionals, 'id')]) as [string]
    const batch = found(id, await admin.batches.cancel(id))
    result(batchText(batch), batch)
    if (batch.state !== 'cancelled') throw new Failure('already_ended', `batch ${id} had ended before`)
  },
})

export const batchGroup: Group = {
  name: 'batch',
  summary: 'Retries, cancels or moves many jobs, in the background.',
  commands: [submitCommand, previewCommand, listCommand, showCommand, cancelCommand],
}

function found(id: string, batch: Batch | undefined): Batch {
  if (!batch) throw new Failure('not_found', `there is no batch ${id} (any more)`)
  return batch
}
